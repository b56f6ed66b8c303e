"""Routes by which somebody joins a class or leaves it; the middleware has checked the request before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ftlab.core import messages
from ftlab.server import routes
from ftlab.server.admission import TICKET_KEY
from ftlab.server.bodies import parse_fields
from ftlab.server.class_pages.join_page import render_join_page
from ftlab.server.people.join_limits import JoinLimits
from ftlab.server.people.membership import JoinRefusedError, Membership
from ftlab.server.visitors import Visitor


class ClassRoutes:
    """Handlers of the routes."""

    def __init__(self, membership: Membership, join_limits: JoinLimits | None = None) -> None:
        """Store who is who.

        Args:
            membership: of the server.
            join_limits: bounds on wrong codes and new members; None: new ones.
        """
        self.membership, self._join_limits = membership, join_limits or JoinLimits()

    def list_routes(self) -> Sequence[Route]:
        """Return the routes, for the application that Gradio is mounted in."""
        return (
            Route(routes.JOIN_PATH, self.show_join_page, methods=["GET"]),
            Route(routes.JOIN_PATH, self.join, methods=["POST"]),
            Route(routes.LEAVE_PATH, self.leave, methods=["POST"]),
        )

    async def show_join_page(self, request: Request) -> Response:
        """Answer with the page that asks for code and name.

        Args:
            request: of a visitor; `?code=` fills the code in.

        Returns:
            The page.
        """
        visitor = get_visitor(request)
        page = render_join_page(
            self.membership.kind,
            code=request.query_params.get("code", ""),
            name=visitor.person.name,
            refusal_key=self._find_refusal(visitor),
        )
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    def _find_refusal(self, visitor: Visitor) -> str:
        """Return the message key of why somebody will not be let in by the room code, as far as it is known before."""
        if visitor.identity in self.membership.list_barred():
            return "barred"
        return "room_closed" if self.membership.is_closed and not visitor.person.name else ""

    async def join(self, request: Request) -> Response:
        """Make a visitor a member.

        Args:
            request: JSON `{"code": text, "name": text}`.

        Returns:
            JSON with `location`, where to go; or `detail`, why not.
        """
        visitor = get_visitor(request)
        fields = parse_fields(await request.body())
        if not visitor.has_cookie:
            return _refuse(400, "no_cookie")
        limits, address = self._join_limits, visitor.address
        if not limits.wrong_codes.has_spare(address):
            return _refuse(429, "too_many_codes")
        is_new = visitor.identity not in self.membership.list_members()
        try:
            person = self.membership.join(
                visitor.identity,
                _get_text(fields, "code"),
                _get_text(fields, "name"),
                is_crowded=not limits.new_members.has_spare(address),
            )
        except JoinRefusedError as refusal:
            if refusal.message_key == "wrong_code":
                limits.wrong_codes.spend(address)
            return _refuse(refusal.status, refusal.message_key)
        if is_new and not person.leads:
            limits.new_members.spend(address)
        return JSONResponse({"location": routes.TEACHER_PATH if person.leads else "/"})

    async def leave(self, request: Request) -> Response:
        """Forget who a visitor is, on this device.

        Args:
            request: of a visitor.

        Returns:
            JSON with `location`, where to go.
        """
        self.membership.remove(get_visitor(request).identity)
        return JSONResponse({"location": routes.JOIN_PATH})


def get_visitor(request: Request) -> Visitor:
    """Return who sent a request, as the middleware has noted it."""
    visitor: Visitor = request.scope[TICKET_KEY].visitor
    return visitor


def _get_text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _refuse(status: int, message_key: str) -> JSONResponse:
    return JSONResponse({"detail": messages.get_text(f"class.{message_key}")}, status)
