"""The table of routes: what the page and programs need, and nothing else of Gradio's."""

from __future__ import annotations

import pytest

from ftlab.server.people.rights import RIGHTS, ProfileKind, Role, may_do
from ftlab.server.routes import MCP_ROUTES, ROUTES, SIGN_IN_ROUTES, BodyKind, Route, find_route

API = "/gradio_api"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("GET", path)
            for path in ("/", "/config", "/config/", "/theme.css", "/assets/index.js", "/static/a/b.woff2")
        ),
        *(("GET", f"{API}/{name}") for name in ("info", "queue/data", "file=/tmp/a.png", "file=a/", "heartbeat/x")),
        *(("POST", f"{API}/{name}") for name in ("queue/join", "queue/join/", "run/predict", "call/scan", "upload")),
        ("HEAD", "/"),
        ("GET", f"{API}/call/scan/0123"),
        ("POST", "/ftlab/stop"),
    ],
)
def test_what_the_page_and_programs_send_is_answered(method: str, path: str) -> None:
    assert isinstance(find_route(method, path), Route)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/docs", "/monitoring", "/monitoring/summary", "/monitoring/key", "/login_check")),
        *(("GET", f"{API}/{name}") for name in ("openapi.json", "dev/reload", "deep_link", "vibe-code", "file/tmp/a")),
        *(("GET", f"{API}/{name}") for name in ("proxy=https://x.example", "stream/a/b/1/playlist.m3u8", "runs")),
        *(("POST", f"{API}/{name}") for name in ("process_recording", "component_server", "component_server/")),
        *(("POST", f"{API}/{name}") for name in ("stream/1", "stream/1/close", "vibe-edit", "run-history/connect")),
        *(("GET", path) for path in ("//", "//evil.example", "/assets", "/assets/", f"{API}/file=", f"{API}/run/")),
        ("GET", "/GRADIO_API/info"),
        ("GET", "/x/gradio_api/info"),
        ("POST", "/login"),
        *(("GET", path) for path in ("/login", "/login/huggingface", "/login/callback", "/logout")),
        ("POST", "/logout"),
        *(("POST", f"{API}/{name}") for name in ("mcp", "mcp/", "mcp/messages", "mcp/messages/")),
        *(("GET", f"{API}/{name}") for name in ("mcp", "mcp/", "mcp/sse", "mcp/schema")),
    ],
)
def test_no_other_route_is_answered(method: str, path: str) -> None:
    refusal = find_route(method, path)
    assert isinstance(refusal, tuple)
    assert refusal[0] in (404, 405)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_no_other_method_is_answered(method: str) -> None:
    assert {
        find_route(method, route.path + "x" if route.path.endswith(("/", "=")) else route.path) for route in ROUTES
    } == {(405, "method")}


GOLDEN_TABLE = {
    # path: who gets through on a network, in a class and on a Space; V visitor, S stranger, P pupil, T teacher
    "": ("VST", "PT", "VST"),
    "/config": ("VST", "PT", "VST"),
    "/theme.css": ("VST", "PST", "VST"),
    "/favicon.ico": ("VST", "PST", "VST"),
    "/robots.txt": ("VST", "PST", "VST"),
    "/manifest.json": ("VST", "PST", "VST"),
    "/assets/": ("VST", "PST", "VST"),
    "/static/": ("VST", "PST", "VST"),
    "/svelte/": ("VST", "PST", "VST"),
    f"{API}/app_id": ("VST", "PST", "VST"),
    f"{API}/startup-events": ("VST", "PST", "VST"),
    f"{API}/theme.css": ("VST", "PST", "VST"),
    f"{API}/file=": ("VST", "PT", "VST"),
    f"{API}/info": ("VST", "PT", "VST"),
    f"{API}/queue/status": ("VST", "PT", "VST"),
    f"{API}/call/": ("VST", "PT", "VST"),
    f"{API}/heartbeat/": ("VST", "PT", "VST"),
    f"{API}/queue/data": ("VST", "PT", "VST"),
    f"{API}/upload_progress": ("VST", "PT", "VST"),
    f"{API}/queue/join": ("VST", "PT", "VST"),
    f"{API}/run/": ("VST", "PT", "VST"),
    f"{API}/cancel": ("VST", "PT", "VST"),
    f"{API}/reset": ("VST", "PT", "VST"),
    f"{API}/upload": ("VST", "PT", "VST"),
    "/ftlab/stop": ("VST", "PT", "VST"),
    "/ftlab/join": ("VST", "PST", "VST"),
    "/ftlab/leave": ("VST", "PST", "VST"),
    "/ftlab/teacher": ("T", "T", "T"),
    "/ftlab/teacher/": ("T", "T", "T"),
    "/ftlab/projector": ("T", "T", "T"),
}
ROLES = {"V": Role.VISITOR, "S": Role.STRANGER, "P": Role.STUDENT, "T": Role.TEACHER}
KINDS = (ProfileKind.NETWORK, ProfileKind.CLASSROOM, ProfileKind.SPACE)


def test_every_route_is_in_the_golden_table_and_lets_through_whom_it_says() -> None:
    assert {route.path for route in ROUTES} == set(GOLDEN_TABLE)
    for route in ROUTES:
        for kind, letters in zip(KINDS, GOLDEN_TABLE[route.path], strict=True):
            let_through = {role for role in Role if route.action is None or may_do(kind, role, route.action)}
            roles_here = {role for role in let_through if role in RIGHTS[kind]}
            assert roles_here == {ROLES[letter] for letter in letters}, (route, kind)


def test_what_only_reads_carries_nothing() -> None:
    assert all(route.body is BodyKind.NONE for route in ROUTES if "GET" in route.methods)
    assert [route.path for route in ROUTES if route.body is BodyKind.UPLOAD] == [f"{API}/upload"]


def test_signing_in_has_three_routes_and_only_where_people_can_sign_in() -> None:
    known_routes = {(method, route.path) for route in SIGN_IN_ROUTES for method in route.methods}
    assert known_routes == {("GET", "/login/huggingface"), ("GET", "/login/callback"), ("POST", "/logout")}
    for method, path in known_routes:
        assert isinstance(find_route(method, path, has_sign_in=True), Route)
        assert find_route(method, path) == (404, "route")
    for path in ("/login", "/login/", "/login/callback/x", "/login_check", "/login/github"):
        assert isinstance(find_route("GET", path, has_sign_in=True), tuple)
    assert find_route("GET", "/logout", has_sign_in=True) == (405, "method")


def test_tools_for_programs_have_one_route_and_only_where_the_server_offers_them() -> None:
    assert [(route.path, *route.methods, route.body, route.is_counted) for route in MCP_ROUTES] == [
        (f"{API}/mcp", "POST", BodyKind.JSON, True)
    ]
    for path in (f"{API}/mcp", f"{API}/mcp/"):
        route = find_route("POST", path, has_mcp=True)
        assert isinstance(route, Route)
        allowed = {
            kind: {role for role in RIGHTS[kind] if route.action and may_do(kind, role, route.action)} for kind in KINDS
        }
        assert [Role.STRANGER in roles for roles in allowed.values()] == [True, False, True], "as the page itself"
        for method in ("GET", "DELETE", "HEAD"):
            assert find_route(method, path, has_mcp=True) == (405, "method")
    for name in ("mcp/sse", "mcp/messages", "mcp/messages/x", "mcp/schema", "mcp/http", "mcp/x"):
        assert isinstance(find_route("POST", f"{API}/{name}", has_mcp=True), tuple)
        assert isinstance(find_route("GET", f"{API}/{name}", has_mcp=True), tuple)
