"""A server for others without the app: ftlab's own pages behind the middleware, for clients in this process."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from ftlab.runs import run_quota
from ftlab.runs.directory import Run
from ftlab.server.admission import TICKET_KEY
from ftlab.server.class_pages.class_routes import ClassRoutes
from ftlab.server.class_pages.teacher_routes import CurvesLook, TeacherRoutes
from ftlab.server.middleware import AccessMiddleware
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile


class ClassServer:
    """A server whose app says who is looking at it."""

    def __init__(
        self, runs_dir: Path, kind: ProfileKind = ProfileKind.CLASSROOM, data_root: Path | None = None
    ) -> None:
        self.profile = ServerProfile(data_root, runs_dir, kind)
        self.membership = Membership(kind, runs_dir)
        middleware = Middleware(
            AccessMiddleware, profile=self.profile, membership=self.membership, visitor_key=b"k" * 32
        )
        curves = CurvesLook(lambda run: f"<div class=ftlab-curves>{run.name}</div>")
        routes = [
            *ClassRoutes(self.membership).list_routes(),
            *TeacherRoutes(self.profile, self.membership, curves).list_routes(),
            Mount("/", _tell_person),
        ]
        self.app = Starlette(routes=routes, middleware=[middleware])

    def open_browser(self) -> TestClient:
        # A Space is reached by HTTPS, and its cookie is kept for that only.
        scheme = "https" if self.profile.is_space else "http"
        return TestClient(self.app, base_url=f"{scheme}://127.0.0.1:7860", follow_redirects=False)

    def join(self, code: str, name: str) -> TestClient:
        browser = self.open_browser()
        browser.get("/ftlab/join")
        assert browser.post("/ftlab/join", json={"code": code, "name": name}).status_code == 200
        return browser

    def lead(self, name: str = "Ms Lee") -> TestClient:
        return self.join(self.membership.teacher_code, name)

    def enroll(self, name: str) -> TestClient:
        return self.join(self.membership.room_code, name)

    def find_id(self, name: str) -> str:
        return next(key for key, member in self.membership.list_members().items() if member.name == name)

    def give(self, run: Run, name: str) -> Run:
        """Note a member as the owner of a run, as the server does at its start."""
        run_quota.write_owner(run, run_quota.make_owner(self.find_id(name)))
        return run


async def _tell_person(scope: Scope, receive: Receive, send: Send) -> None:
    person = scope[TICKET_KEY].visitor.person
    await PlainTextResponse(f"{person.role.value} {person.name}")(scope, receive, send)
