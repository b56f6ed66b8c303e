"""ASGI middleware that checks each request before Gradio sees it.

In this order: the host and the site that a request comes from, its route, who sent it and how much they have open,
the length of its body, whose session it names, and what is in it. `ftlab.server.routes` has the table of routes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import messages
from ftlab.server import bodies, remote_addresses, routes, stop_route, upload_spool, visitors
from ftlab.server.accounts.account_store import AccountStore
from ftlab.server.admission import TICKET_KEY, Admission, AdmissionLimits, Ticket
from ftlab.server.bodies import BodyRefusedError, BoundedReceive
from ftlab.server.origins import OriginRules
from ftlab.server.people.languages import LANGUAGE_KEY, choose_language
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import Action, ProfileKind
from ftlab.server.people.session_owners import (
    SessionOwners,
    list_address_names,
    list_body_names,
    parse_event_name,
)
from ftlab.server.profile import ServerProfile
from ftlab.server.routes import BodyKind, Route
from ftlab.server.upload_quota import QuotaExceededError, UploadQuota
from ftlab.server.visitors import Visitor, VisitorCookies

OWN_THREADS = 4
"""Threads for the middleware's own work: those of Gradio's handlers may all be busy."""

ListTickets = Callable[[], Iterable[Ticket]]
"""Function that returns the tickets of the events in the queue."""


class AccessMiddleware:
    """Refusal of what the page never sends, and the route of the Stop button."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        profile: ServerProfile,
        upload_quota: UploadQuota | None = None,
        membership: Membership | None = None,
        accounts: AccountStore | None = None,
        visitor_key: bytes = b"",
        list_queued_tickets: ListTickets = tuple,
        limits: AdmissionLimits | None = None,
    ) -> None:
        """Store the rules.

        Args:
            app: the next ASGI application.
            profile: profile of the server.
            upload_quota: limits on uploads; None: the default limits, with no folder counted.
            membership: who is who; None: nobody is a member.
            accounts: who is signed in; None: nobody.
            visitor_key: key of the visitors' cookies, as `visitors.load_key` returns it; empty: no cookies.
            list_queued_tickets: see `ListTickets`; the middleware puts the ticket of a request into its scope.
            limits: bounds on visitors; None: the default ones.
        """
        self.app = app
        self.profile = profile
        self.origin_rules = OriginRules(profile.hosts)
        self.upload_quota = upload_quota or UploadQuota()
        self.cookies = VisitorCookies(visitor_key) if visitor_key else None
        self.admission = Admission(limits)
        self.membership = membership or Membership(profile.kind, profile.runs_dir)
        self.accounts = accounts or AccountStore()
        self.session_owners = SessionOwners()
        self._list_queued_tickets = list_queued_tickets
        # Created at the first request: it belongs to the event loop.
        self._thread_limiter: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or pass it on with security headers added to the response.

        Args:
            scope: ASGI connection scope.
            receive: ASGI receive channel.
            send: ASGI send channel.

        Returns:
            None; ASGI answers through `send`.
        """
        if scope["type"] == "websocket":  # the page uses none
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":  # lifespan events of the server itself
            return await self.app(scope, receive, send)
        self._thread_limiter = self._thread_limiter or CapacityLimiter(OWN_THREADS)
        scope["headers"] = self.origin_rules.drop_forwarded_headers(scope["headers"])
        headers = Headers(scope=scope)
        scope[LANGUAGE_KEY] = choose_language(headers)
        with messages.use_language(scope[LANGUAGE_KEY]):
            return await self._answer_request(headers, scope, receive, send)

    async def _answer_request(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused HTTP request, or pass it on."""
        route = self._find_route(scope, headers)
        if isinstance(route, tuple):
            return await _refuse(*route, BodyKind.NONE)(scope, receive, send)
        visitor = self._identify_visitor(scope, headers)
        if route.action is not None and not visitor.person.may(route.action):
            return await self._answer_uninvited(route, scope, receive, send)
        queued_tickets = self._list_queued_tickets() if route.is_event else None
        refusal = (
            self.admission.find_refusal(visitor, queued_tickets) if route.is_counted else None
        ) or bodies.find_length_refusal(headers, route.body, self.upload_quota.max_upload_bytes)
        if refusal is None and not self.session_owners.claim(
            list_address_names(scope["path"], scope["query_string"]), visitor.name
        ):
            refusal = 403, "session"
        if refusal is not None:
            return await _refuse(*refusal, route.body)(scope, receive, send)
        scope[TICKET_KEY] = ticket = Ticket(visitor)
        with self.admission.count_request(ticket, is_event=route.is_event) if route.is_counted else nullcontext():
            await self._answer(route, scope, receive, self._add_headers(scope, headers, visitor, send))

    async def _answer_uninvited(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse somebody who may not use a route; whoever opens the page of a class is asked to join."""
        is_classroom = self.profile.kind is ProfileKind.CLASSROOM
        if (route.path == "" and is_classroom) or route.path in (routes.TEACHER_PATH, routes.PROJECTOR_PATH):
            return await RedirectResponse(routes.JOIN_PATH, 303)(scope, receive, send)
        message_key = "join_first" if is_classroom and route.action is not Action.LEAD else "not_yours"
        return await _refuse(401 if message_key == "join_first" else 403, message_key, route.body)(scope, receive, send)

    async def _answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the body of a request, and pass it on."""
        headers = Headers(scope=scope)
        if route.body is BodyKind.NONE:
            return await self.app(scope, receive, send)
        bounded_receive = BoundedReceive(receive, int(headers["content-length"]))
        if route.body is BodyKind.UPLOAD:
            return await self._answer_upload(scope, headers, bounded_receive, send)
        try:
            body = await bounded_receive.read_all()
        except BodyRefusedError as refusal:
            return await _refuse(refusal.status, refusal.message_key, route.body)(scope, receive, send)
        if body is None:  # the visitor has left
            return None
        if route.path == routes.STOP_PATH:
            person = scope[TICKET_KEY].visitor.person
            status, text = await to_thread.run_sync(
                stop_route.answer_stop, self.profile, person, body, limiter=self._thread_limiter
            )
            return await JSONResponse({"detail": text}, status)(scope, receive, send)
        if route.body is BodyKind.COMMAND:
            return await self.app(scope, bodies.replay_body(body, receive), send)
        visitor_name = scope[TICKET_KEY].visitor.name
        payload_refusal = self._check_payload(body, headers, visitor_name)
        if payload_refusal is not None:
            return await _refuse(*payload_refusal, route.body)(scope, receive, send)
        if route.is_event:
            send = self._note_event(visitor_name, send)
        return await self.app(scope, bodies.replay_body(body, receive), send)

    def _check_payload(self, body: bytes, headers: Headers, visitor_name: str) -> tuple[int, str] | None:
        """Return status and message key of a refusal of a JSON body, None where it may be passed on."""
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return 400, "json"
        if remote_addresses.holds_remote_file(payload, self.origin_rules.list_own_netlocs(headers)):
            return 403, "remote"
        return None if self.session_owners.claim(list_body_names(payload), visitor_name) else (403, "session")

    def _note_event(self, visitor_name: str, send: Send) -> Send:
        """Return a `send` that notes whose the event is that an answer names."""

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.body":
                self.session_owners.claim(parse_event_name(message.get("body", b"")), visitor_name)
            await send(message)

        return send_and_note

    async def _answer_upload(self, scope: Scope, headers: Headers, receive: BoundedReceive, send: Send) -> None:
        """Pass an upload on, if there is space for it; nothing is kept of one that does not arrive as a whole."""
        ticket: Ticket = scope[TICKET_KEY]
        byte_count = int(headers["content-length"])
        space = self.upload_quota.reserve(byte_count, ticket.visitor.name)
        try:
            # In a thread: it walks over the upload folders, and would block the server's event loop.
            await to_thread.run_sync(self.upload_quota.check_free_space, byte_count, limiter=self._thread_limiter)
            reservation = await to_thread.run_sync(space.__enter__, limiter=self._thread_limiter)
        except QuotaExceededError as refusal:
            return await _refuse(507, refusal.message_key, BodyKind.UPLOAD)(scope, receive, send)

        async def send_and_keep(message: Message) -> None:
            if receive.is_cut:  # the mounted application calls it an error of its own
                return
            if message["type"] == "http.response.start":
                reservation.is_used = message["status"] < 400
            await send(message)

        try:
            with upload_spool.remove_leftover_files():
                return await self.app(scope, receive, send_and_keep)
        except ClientDisconnect:  # nobody is there to read an answer, unless it was the body that was refused
            if receive.refusal is None:
                return None
        finally:
            space.__exit__(None, None, None)
        return await _refuse(receive.refusal.status, receive.refusal.message_key, BodyKind.UPLOAD)(scope, receive, send)

    def _find_route(self, scope: Scope, headers: Headers) -> Route | tuple[int, str]:
        """Return the row of the table for a request; status and message key for a request that is refused."""
        if not self.origin_rules.is_known_host(headers.get("host", "")):
            return 400, "host"
        # Gradio would download the address (server-side request forgery).
        file_location = scope["path"].partition(remote_addresses.FILE_ROUTE)[2]
        if remote_addresses.is_address(file_location):
            return 403, "remote"
        route = routes.find_route(
            scope["method"],
            scope["path"],
            has_sign_in=self.profile.sign_in is not None,
            has_mcp=self.profile.has_mcp,
        )
        if isinstance(route, tuple):
            return route
        # Reading needs no check: the browser does not let another site's page read the response.
        is_foreign = "POST" in route.methods and self.origin_rules.is_cross_site(headers)
        return (403, "origin") if is_foreign else route

    def _identify_visitor(self, scope: Scope, headers: Headers) -> Visitor:
        """Return who sent a request, by the cookie or the address."""
        # The server has put the forwarded address here, if the connection is from a trusted proxy.
        address = visitors.shorten_address((scope.get("client") or ("",))[0])
        name = self.cookies.read_name(headers.get("cookie", "")) if self.cookies else None
        account = self.accounts.find_account(name)
        person = self.membership.identify(account.id if account else name)
        return Visitor(name or address, address, has_cookie=name is not None, person=person, account=account)

    def _add_headers(self, scope: Scope, headers: Headers, visitor: Visitor, send: Send) -> Send:
        """Return a `send` that adds headers against MIME sniffing and framing, and the cookie to the page itself."""
        cookie_value = ""
        is_new = not visitor.has_cookie and scope["path"] in routes.PAGE_PATHS
        if self.cookies and is_new and self.admission.may_introduce(visitor.address):
            cookie_value = self.cookies.create_value()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                response_headers["X-Content-Type-Options"] = "nosniff"
                # A Space is shown in a frame of another site.
                if not self.profile.is_space:
                    response_headers["Content-Security-Policy"] = "frame-ancestors 'self'"
                value = self._renew_identity(scope, visitor) or cookie_value
                if value:
                    is_https = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
                    cookie = visitors.format_cookie(value, in_frame=self.profile.is_space, is_https=is_https)
                    response_headers.append("Set-Cookie", cookie)
            await send(message)

        return send_with_headers

    def _renew_identity(self, scope: Scope, visitor: Visitor) -> str:
        """Return the cookie's new value, if the request has given its visitor another identity; else empty."""
        new_name = scope.get(visitors.NEW_NAME_KEY)
        if not new_name or not self.cookies:
            return ""
        self.session_owners.hand_over(visitor.name, new_name)
        return self.cookies.create_value(new_name)


def _refuse(status: int, message_key: str, body: BodyKind) -> Response:
    """Return the answer to a refused request: the page shows `detail` of JSON, and the text of other answers."""
    text = messages.get_text(f"server.{message_key}")
    return JSONResponse({"detail": text}, status) if body is BodyKind.JSON else PlainTextResponse(text, status)
