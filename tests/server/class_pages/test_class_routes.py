"""Joining a class by the browser: what is asked, who is let in, who is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from ftlab.server.admission import TICKET_KEY
from ftlab.server.class_pages.class_routes import ClassRoutes
from ftlab.server.class_pages.join_page import render_join_page
from ftlab.server.middleware import AccessMiddleware
from ftlab.server.people import join_limits
from ftlab.server.people.join_limits import MAX_WRONG_CODES
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile

EVIL = "<img src=x onerror=alert(1)>\"'"


class Server:
    """A server whose page says who is looking at it."""

    def __init__(self, runs_dir: Path, kind: ProfileKind = ProfileKind.CLASSROOM) -> None:
        self.membership = Membership(kind, runs_dir)
        middleware = Middleware(
            AccessMiddleware,
            profile=ServerProfile(None, runs_dir, kind),
            membership=self.membership,
            visitor_key=b"k" * 32,
        )
        routes = [*ClassRoutes(self.membership).list_routes(), Mount("/", answer)]
        self.app = Starlette(routes=routes, middleware=[middleware])

    def open_browser(self) -> TestClient:
        return TestClient(self.app, base_url="http://127.0.0.1:7860", follow_redirects=False)

    def join(self, browser: TestClient, code: str, name: str) -> tuple[int, dict[str, str]]:
        browser.get("/ftlab/join")
        answer = browser.post("/ftlab/join", json={"code": code, "name": name})
        return answer.status_code, answer.json()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    person = scope[TICKET_KEY].visitor.person
    await PlainTextResponse(f"{person.role.value} {person.name}")(scope, receive, send)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_whoever_has_no_name_is_asked_to_join_and_sees_nothing_else(server: Server) -> None:
    browser = server.open_browser()
    first = browser.get("/")
    assert (first.status_code, first.headers["location"]) == (303, "/ftlab/join")
    for path in ("/config", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/queue/data"):
        assert browser.get(path).status_code == 401
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/upload", "/ftlab/stop"):
        refusal = browser.post(path, json={})
        assert refusal.status_code == 401
        assert "Join the class first" in refusal.text
    page = browser.get("/ftlab/join")
    assert "Join the class" in page.text
    assert server.membership.room_code not in page.text


def test_code_and_name_let_a_student_in(server: Server) -> None:
    browser = server.open_browser()
    assert server.join(browser, server.membership.room_code, "Ann") == (200, {"location": "/"})
    assert browser.get("/").text == "student Ann"
    assert server.open_browser().get("/").status_code == 303, "another browser is somebody else"


def test_the_teachers_code_leads_to_the_teachers_page(server: Server) -> None:
    browser = server.open_browser()
    assert server.join(browser, server.membership.teacher_code, "Ms Lee") == (200, {"location": "/ftlab/teacher"})
    assert browser.get("/").text == "teacher Ms Lee"


def test_the_teachers_routes_are_closed_to_students(server: Server) -> None:
    browser = server.open_browser()
    server.join(browser, server.membership.room_code, "Ann")
    assert browser.get("/ftlab/teacher").headers["location"] == "/ftlab/join"
    assert browser.get("/ftlab/teacher/roster").status_code == 403
    assert browser.post("/ftlab/teacher/pause", json={}).status_code == 403


def test_why_somebody_cannot_join_is_told(server: Server) -> None:
    browser = server.open_browser()
    status, fields = server.join(browser, "WRONG1", "Ann")
    assert (status, "code is wrong" in fields["detail"]) == (403, True)
    status, fields = server.join(browser, server.membership.room_code, " ")
    assert (status, "name" in fields["detail"]) == (400, True)
    stranger = server.open_browser()
    refusal = stranger.post("/ftlab/join", json={"code": server.membership.room_code, "name": "Ann"})
    assert (refusal.status_code, "cookie" in refusal.json()["detail"]) == (400, True)
    for body in (b"", b"[]", b"{", b'{"code": 3, "name": []}'):
        assert browser.post("/ftlab/join", content=body).status_code in (403, 411)


def test_codes_cannot_be_tried_at_will(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_limits, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no second passes
    browser = server.open_browser()
    statuses = [server.join(browser, f"WRONG{number}", "Eve")[0] for number in range(MAX_WRONG_CODES + 3)]
    assert statuses == [403] * MAX_WRONG_CODES + [429] * 3
    assert server.join(browser, server.membership.room_code, "Eve")[0] == 429, "the right one is not told either"


def test_whoever_leaves_is_asked_again(server: Server) -> None:
    browser = server.open_browser()
    server.join(browser, server.membership.room_code, "Ann")
    assert browser.post("/ftlab/leave", json={}).json() == {"location": "/ftlab/join"}
    assert browser.get("/").status_code == 303


def test_another_site_cannot_let_a_browser_join_or_leave(server: Server) -> None:
    browser = server.open_browser()
    server.join(browser, server.membership.room_code, "Ann")
    for path in ("/ftlab/join", "/ftlab/leave"):
        assert browser.post(path, json={}, headers={"origin": "https://evil.example"}).status_code == 403
    assert browser.get("/").text == "student Ann"


def test_what_an_address_brings_along_is_text(server: Server) -> None:
    page = server.open_browser().get("/ftlab/join", params={"code": EVIL}).text
    assert "<img" not in page
    assert EVIL not in render_join_page(ProfileKind.CLASSROOM, code=EVIL, name=EVIL)


def test_where_there_is_no_class_visitors_come_in_and_only_the_teachers_page_asks(tmp_path: Path) -> None:
    network = Server(tmp_path, ProfileKind.NETWORK)
    browser = network.open_browser()
    assert browser.get("/").text == "stranger "
    assert browser.get("/").text == "visitor "
    assert "teacher" in browser.get("/ftlab/join").text
    assert network.join(browser, network.membership.teacher_code, "Lee")[1] == {"location": "/ftlab/teacher"}
    assert browser.get("/").text == "teacher Lee"


def test_a_class_joins_at_once_and_a_flood_of_names_waits_while_the_teacher_still_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_limits, "MAX_NEW_MEMBERS", 3)
    server = Server(tmp_path)
    browsers = [server.open_browser() for _ in range(5)]
    room_code, teacher_code = server.membership.room_code, server.membership.teacher_code
    for number, browser in enumerate(browsers[:3]):
        assert server.join(browser, room_code, f"n{number}")[0] == 200
        assert server.join(browser, room_code, f"other {number}")[0] == 200, "who is in may have another name"
    assert server.join(browsers[3], room_code, "one more")[0] == 429
    assert server.join(browsers[3], "AAAAAA", "one more")[0] == 403
    browsers[0].post("/ftlab/leave", json={})
    assert server.join(browsers[0], room_code, "n0")[0] == 200, "and who left comes back"
    assert server.join(browsers[4], teacher_code, "Ms Lee")[0] == 200
