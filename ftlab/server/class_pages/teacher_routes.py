"""Routes of the teacher's page and of the projector; the middleware lets only those pass who lead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ftlab.core import messages
from ftlab.runs import run_notes, run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.server import routes
from ftlab.server.bodies import parse_fields
from ftlab.server.class_pages import teacher_page
from ftlab.server.class_pages.class_routes import get_visitor
from ftlab.server.class_pages.join_address import build_page_address
from ftlab.server.class_pages.teacher_actions import TeacherActions
from ftlab.server.people.membership import Membership
from ftlab.server.profile import ServerProfile

_NOT_STORED = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class CurvesLook:
    """How the curves of a run are drawn: as on the page of the app, which the server does not know.

    Attributes:
        render: returns the curves of a run as HTML, in which all text is escaped.
        style: style sheet for it.
    """

    render: Callable[[Run], str]
    style: str = ""


class TeacherRoutes:
    """Handlers of the routes."""

    def __init__(
        self,
        profile: ServerProfile,
        membership: Membership,
        curves: CurvesLook,
        erase_sent_files: Callable[[], None] = lambda: None,
        *,
        is_reachable: bool = True,
    ) -> None:
        """Prepare the handlers of a server.

        Args:
            profile: profile of the server.
            membership: who is who on it.
            curves: how the curves of a run are drawn.
            erase_sent_files: see `TeacherActions`.
            is_reachable: the server listens on addresses of the network, which its pages then name.
        """
        self._profile, self._membership, self._curves, self._is_reachable = profile, membership, curves, is_reachable
        self._actions = TeacherActions(profile, membership, erase_sent_files)

    def list_routes(self) -> Sequence[Route]:
        """Return the routes, for the application that Gradio is mounted in."""
        path = routes.TEACHER_PATH
        return (
            Route(path, self.show_page, methods=["GET"]),
            Route(routes.PROJECTOR_PATH, self.show_projector, methods=["GET"]),
            Route(f"{path}/roster", self.answer_roster, methods=["GET"]),
            Route(f"{path}/projected", self.answer_projected, methods=["GET"]),
            Route(f"{path}/lesson.zip", self.send_zip, methods=["GET"]),
            Route(f"{path}/{{action}}", self.act, methods=["POST"]),
        )

    async def show_page(self, request: Request) -> Response:
        """Answer with the teacher's page.

        Args:
            request: of whoever leads.

        Returns:
            The page.
        """
        page = await to_thread.run_sync(
            teacher_page.render_teacher_page,
            self._profile,
            self._membership,
            get_visitor(request).person,
            self._find_address(request),
        )
        return HTMLResponse(page, headers=_NOT_STORED)

    async def show_projector(self, request: Request) -> Response:
        """Answer with the page for the projector.

        Args:
            request: of whoever leads.

        Returns:
            The page.
        """
        page = await to_thread.run_sync(
            teacher_page.render_projector, self._membership, self._find_address(request), self._curves.style
        )
        return HTMLResponse(page, headers=_NOT_STORED)

    async def answer_roster(self, _request: Request) -> Response:
        """Answer with what the class is doing.

        Returns:
            JSON of `ClassBoard.build_answer`.
        """
        answer = await to_thread.run_sync(self._actions.board.build_answer)
        return JSONResponse(answer, headers=_NOT_STORED)

    async def answer_projected(self, _request: Request) -> Response:
        """Answer with what is on the projector.

        Returns:
            JSON; `run` is empty while it shows how to join.
        """
        return JSONResponse(await to_thread.run_sync(self._describe_projected), headers=_NOT_STORED)

    async def send_zip(self, request: Request) -> Response:
        """Send everything of the class, while it is written.

        Args:
            request: of whoever leads.

        Returns:
            The zip.
        """
        name = time.strftime("lesson-%Y-%m-%d-%H%M.zip")
        headers = {**_NOT_STORED, "Content-Disposition": f'attachment; filename="{name}"'}
        if request.method == "HEAD":  # nothing is sent, so nothing is saved
            return Response(media_type="application/zip", headers=headers)
        return StreamingResponse(self._actions.archive.write_zip(), media_type="application/zip", headers=headers)

    async def act(self, request: Request) -> Response:
        """Do what a button of the page asks for.

        Args:
            request: with the command in JSON; its path ends with the name of the action.

        Returns:
            JSON with `detail`, a sentence.
        """
        name, fields = request.path_params["action"], parse_fields(await request.body())
        status, answer = await to_thread.run_sync(self._actions.act, name, get_visitor(request).person, fields)
        return JSONResponse(answer, status)

    def _find_address(self, request: Request) -> str:
        return build_page_address(str(request.url), is_reachable=self._is_reachable)

    def _describe_projected(self) -> dict[str, Any]:
        name = self._actions.rules.read().projected_run
        if name not in run_store.list_run_names(self._profile.runs_dir):  # nothing is chosen, or it was deleted
            return {"run": "", "room_code": self._membership.room_code}
        run = Run(self._profile.runs_dir / name)
        glance = next(glance for glance in self._actions.board.list_glances() if glance.run == name)
        owner = self._membership.find_name(run_quota.read_owner(run))
        note = messages.escape_control_chars(run_notes.read_notes(run).first_line)
        status = messages.get_text(f"status.short.{glance.status}")
        return {
            "run": name,
            "title": messages.escape_control_chars(glance.title),
            "about": " · ".join(part for part in (owner, status, note) if part),
            "accuracy": "" if glance.accuracy is None else f"{100 * glance.accuracy:.1f} %",
            "curves": self._curves.render(run),
        }
