"""Requests that are answered, and those refused before Gradio sees them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ftlab.core import file_io
from ftlab.server import bodies
from ftlab.server.admission import AdmissionLimits, Ticket
from ftlab.server.bodies import MAX_COMMAND_BYTES, MAX_JSON_BYTES
from ftlab.server.middleware import AccessMiddleware
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.server.upload_quota import UploadQuota

RUN, JOIN, UPLOAD = "/gradio_api/run/predict", "/gradio_api/queue/join", "/gradio_api/upload"
KEY = b"k" * 32


def client(
    *hosts: str, headers: dict[str, str] | None = None, kind: ProfileKind = ProfileKind.LOCAL, **rules: Any
) -> TestClient:
    """A client of a server that answers with the content of the request, or with the text of a header."""

    async def answer(request: Request) -> PlainTextResponse:
        body = await request.body()
        return PlainTextResponse(request.headers.get(request.query_params.get("header", ""), body.decode() or "ok"))

    profile = ServerProfile(None, Path("runs"), kind, hosts=hosts)
    routes = [Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])]
    app = Starlette(routes=routes, middleware=[Middleware(AccessMiddleware, profile=profile, **rules)])
    return TestClient(app, base_url="http://127.0.0.1:7860", headers=headers)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "192.168.1.7", "LOCALHOST"])
def test_addresses_and_localhost_are_answered(host: str) -> None:
    assert client().get("/", headers={"host": host}).text == "ok"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7860", "x@localhost"]
)
def test_a_foreign_host_name_is_refused(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 400


def test_a_named_host_is_answered_and_a_space_answers_any() -> None:
    assert client(*("lab.example",)).get("/", headers={"host": "lab.example"}).status_code == 200
    assert client(*("*",)).get("/", headers={"host": "someone-ftlab.hf.space"}).status_code == 200


def test_a_page_of_another_site_may_not_post() -> None:
    for origin in ("https://evil.example", "http://127.0.0.1:8000", "http://localhost:7860", "null"):
        assert client().post(RUN, json={}, headers={"origin": origin}).status_code == 403
    assert client().post(RUN, json={}, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_the_own_page_and_programs_may_post() -> None:
    assert client().post(RUN, json={}, headers={"origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client().post(RUN, json={}).status_code == 200


def test_a_page_behind_a_named_host_may_post_whatever_the_proxy_calls_this_server() -> None:
    headers = {"origin": "https://lab.example", "host": "127.0.0.1:7860"}
    assert client(*("lab.example",)).post(RUN, json={}, headers=headers).status_code == 200


def test_another_site_cannot_vouch_for_itself_as_a_proxy() -> None:
    headers = {"origin": "https://evil.example", "x-forwarded-host": "evil.example"}
    assert client().post(RUN, json={}, headers=headers).status_code == 403


@pytest.mark.parametrize("address", ["https://evil.example/x.png", "HTTP://evil.example", "//evil.example", "ftp:x"])
def test_the_server_fetches_nothing_for_a_visitor(address: str) -> None:
    assert client().get(f"/gradio_api/file={address}").status_code == 403
    assert client().get("/gradio_api/file=/tmp/x.png").status_code == 200
    refusal = client().post(RUN, json={"data": [{"path": address, "meta": {"_type": "gradio.FileData"}}]})
    assert (refusal.status_code, refusal.json()["detail"][:29]) == (403, "This server downloads nothing")
    assert client().post(RUN, json={"data": [f"My pictures of {address}", {"title": address}]}).status_code == 200
    shown = {"path": "/tmp/x.png", "url": "http://127.0.0.1:7860/gradio_api/file=/tmp/x.png"}
    assert client().post(RUN, json={"data": [shown]}).status_code == 200


def test_a_forwarded_host_counts_only_for_a_public_name() -> None:
    def seen(*hosts: str, name: str = "x-forwarded-host", value: str = "lab.example") -> str:
        return client(*hosts).get(f"/?header={name}", headers={name: value}).text

    assert seen() == "ok"
    assert seen("lab.example") == "lab.example"
    assert seen("lab.example", value="evil.example") == "ok"
    assert seen("*", value="evil.example") == "ok", "a Space answers to any host, and believes none"
    assert seen(name="x-forwarded-proto", value="https") == "ok"
    assert seen("lab.example", name="x-forwarded-proto", value="https") == "https"
    for name in ("x-gradio-server", "forwarded", "x-forwarded-prefix", "x-forwarded-for", "X-Forwarded-Port"):
        assert seen("lab.example", name=name) == "ok"


def test_answers_are_not_guessed_at_nor_framed_by_other_sites() -> None:
    headers = client().get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert "content-security-policy" not in client(kind=ProfileKind.SPACE).get("/").headers


# --- routes


def test_what_is_not_in_the_table_is_refused() -> None:
    for name in ("component_server", "process_recording", "vibe-edit", "stream/1"):
        assert client().post(f"/gradio_api/{name}", json={}).status_code == 404
    assert client().put("/", content=b"x").status_code == 405
    assert client().delete(RUN).status_code == 405


def test_a_websocket_is_refused() -> None:
    with pytest.raises(WebSocketDisconnect) as caught, client().websocket_connect("/queue/join"):
        pass
    assert caught.value.code == 1008


# --- bodies


def test_a_body_has_a_length_and_a_limit_and_is_json() -> None:
    assert client().post(RUN, content=iter([b"{}"])).status_code == 411
    assert client().post(RUN, content=b"{}", headers={"content-length": "0x2"}).status_code == 411
    assert client().post(RUN, content=b'"' + b"x" * (MAX_JSON_BYTES - 2) + b'"').status_code == 200
    assert client().post(RUN, content=b'"' + b"x" * (MAX_JSON_BYTES - 1) + b'"').status_code == 413
    assert client().post("/ftlab/stop", content=b"x" * (MAX_COMMAND_BYTES + 1)).status_code == 413
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000):
        assert client().post(RUN, content=body).status_code == 400


def test_what_reads_carries_nothing() -> None:
    assert client().request("GET", "/", content=b"x").status_code == 400
    assert client().request("GET", "/", content=iter([b"x"])).status_code == 400
    assert client().get("/", headers={"content-length": "0"}).status_code == 200


def ask_asgi(path: str, content_length: int, chunks: Iterator[bytes], delay_seconds: float = 0.0) -> list[int]:
    """Statuses that the server answers to a body in chunks, whose parts come with a delay."""
    statuses: list[int] = []

    async def receive() -> Message:
        await anyio.sleep(delay_seconds)
        return {"type": "http.request", "body": next(chunks, b""), "more_body": True}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"host", b"127.0.0.1"), (b"content-length", str(content_length).encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "client": None}
    anyio.run(client().app, scope, receive, send)
    return statuses


@pytest.mark.parametrize("path", [RUN, UPLOAD, "/ftlab/stop"])
def test_a_body_longer_than_it_states_is_refused(path: str) -> None:
    assert ask_asgi(path, 10, iter([b"x" * 6] * 5)) == [400]


@pytest.mark.parametrize("path", [RUN, UPLOAD, "/ftlab/stop"])
def test_a_body_that_does_not_arrive_is_given_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_TIMEOUT_SECONDS", 0.02)
    assert ask_asgi(path, 1000, iter([]), delay_seconds=60) == [408]


def test_a_body_that_arrives_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_GRACE_SECONDS", 0.05)
    assert ask_asgi(RUN, 1000, iter([b"x"] * 1000), delay_seconds=0.002) == [408]


# --- visitors


def test_the_page_brings_a_cookie_and_programs_need_none() -> None:
    visitor = client(visitor_key=KEY)
    assert "set-cookie" not in visitor.get("/config").headers
    assert "HttpOnly" in visitor.get("/").headers["set-cookie"]
    assert "set-cookie" not in visitor.get("/").headers, "it has one by now"
    assert "set-cookie" not in client().get("/").headers


def test_one_visitors_events_are_bounded_and_anothers_are_not() -> None:
    queued: list[Ticket] = []

    limits = AdmissionLimits(events_per_visitor=2, events_without_cookie=2)

    async def join(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            queued.append(scope["ftlab.ticket"])
        await PlainTextResponse("ok")(scope, receive, send)

    profile = ServerProfile(None, Path("runs"))
    rules: dict[str, Any] = {"list_queued_tickets": lambda: list(queued), "limits": limits}
    app = AccessMiddleware(join, profile=profile, visitor_key=KEY, **rules)
    greedy, other = (TestClient(app, base_url="http://127.0.0.1") for _ in range(2))
    greedy.get("/")
    other.get("/")
    answers = [greedy.post(JOIN, json={"data": []}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "waiting" in answers[-1].json()["detail"], "the page shows this sentence"
    assert other.post(JOIN, json={"data": []}).status_code == 200
    greedy.cookies.clear()
    assert [greedy.post(JOIN, json={"data": []}).status_code for _ in range(3)] == [200, 200, 429]


# --- stop


def test_stop_is_answered_beside_gradio_and_not_for_another_site() -> None:
    assert client().post("/ftlab/stop", json={"run": "x"}).json()["detail"].startswith("There is no run")
    assert (
        client().post("/ftlab/stop", json={"run": "x"}, headers={"origin": "https://evil.example"}).status_code == 403
    )
    assert client().get("/ftlab/stop").status_code == 405


# --- uploads


def test_an_upload_beyond_the_limit_is_refused() -> None:
    assert client(upload_quota=UploadQuota(max_upload_bytes=100)).post(UPLOAD, content=b"x" * 100).status_code == 200
    assert client(upload_quota=UploadQuota(max_upload_bytes=100)).post(UPLOAD, content=b"x" * 101).status_code == 413


def test_an_upload_to_a_full_disk_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: 0)
    answer = client(upload_quota=UploadQuota(uploads_dir=tmp_path)).post(UPLOAD, content=b"x")
    assert answer.status_code == 507
    assert "has no space for more uploads" in answer.text


def test_an_upload_that_does_not_say_its_length_is_refused() -> None:
    assert client().post(UPLOAD, content=iter([b"x"])).status_code == 411


def test_uploads_stop_when_the_quota_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_bytes(b"x" * 900)
    assert (
        client(upload_quota=UploadQuota(uploads_dir=tmp_path, quota_bytes=1000))
        .post(UPLOAD, content=b"x" * 100)
        .status_code
        == 200
    )
    assert (
        client(upload_quota=UploadQuota(uploads_dir=tmp_path, quota_bytes=1000))
        .post(UPLOAD, content=b"x" * 101)
        .status_code
        == 507
    )
