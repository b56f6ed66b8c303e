"""Routes by which somebody signs in and out; the middleware has checked the request before."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.runs import run_quota
from ftlab.server import routes, visitors
from ftlab.server.accounts.account_store import AccountStore
from ftlab.server.accounts.openid_client import OpenIdClient, ProviderError
from ftlab.server.accounts.sign_in_settings import SignInSettings
from ftlab.server.class_pages.class_routes import get_visitor
from ftlab.server.class_pages.join_page import render_document
from ftlab.server.people.membership import Membership
from ftlab.server.profile import ServerProfile

SIGN_IN_SECONDS = 600.0
"""Seconds within which somebody must come back from the provider."""
MAX_STARTED, MAX_STARTED_BY_VISITOR = 4096, 4
"""Sign-ins that are under way: in all, and of one visitor; beyond them, the oldest one counts no more."""
MAX_CODE_CHARS = 4096
"""Characters of what the provider sends back by the browser."""


@dataclass(frozen=True)
class _StartedSignIn:
    """A sign-in under way.

    Attributes:
        visitor_id: identity in the cookie of the browser that started it.
        verifier: what the provider is told with the code.
        scopes: what the person is asked for.
        deadline: when it counts no more, by `time.monotonic`.
    """

    visitor_id: str
    verifier: str
    scopes: str
    deadline: float


class SignInRoutes:
    """Handlers of the routes."""

    def __init__(
        self, profile: ServerProfile, settings: SignInSettings, accounts: AccountStore, membership: Membership
    ) -> None:
        """Prepare the handlers of a server.

        Args:
            profile: profile of the server.
            settings: how people sign in.
            accounts: who is signed in.
            membership: of the server: who leads it goes on to do so.
        """
        self._runs_dir, self._accounts, self._client = profile.runs_dir, accounts, OpenIdClient(settings)
        self._settings = settings
        self._redirect_url = f"{settings.public_url}{routes.CALLBACK_PATH}"
        self._membership = membership
        self._started: OrderedDict[str, _StartedSignIn] = OrderedDict()

    def list_routes(self) -> Sequence[Route]:
        """Return the routes, for the application that Gradio is mounted in."""
        return (
            Route(routes.SIGN_IN_PATH, self.start, methods=["GET"]),
            Route(routes.CALLBACK_PATH, self.finish, methods=["GET"]),
            Route(routes.SIGN_OUT_PATH, self.sign_out, methods=["POST"]),
        )

    async def start(self, request: Request) -> Response:
        """Send a browser to the provider.

        Args:
            request: of a visitor; with `push` in its query, the person is asked to let ftlab push too.

        Returns:
            A redirect, or a page that says why not.
        """
        visitor = get_visitor(request)
        if not visitor.has_cookie:
            return self._render_refusal("no_cookie", 400)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        # Nobody is asked for the right to write who only wants their runs back.
        scopes = self._settings.list_scopes(can_push=routes.PUSH_QUERY in request.query_params)
        try:
            url = await self._client.build_login_url(state, verifier, self._redirect_url, scopes)
        except ProviderError as error:
            return self._refuse_provider(error)
        self._note_start(state, _StartedSignIn(visitor.name, verifier, scopes, time.monotonic() + SIGN_IN_SECONDS))
        return RedirectResponse(url, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    async def finish(self, request: Request) -> Response:
        """Sign in whoever comes back from the provider; what they trained in this browser before goes along.

        Args:
            request: with `state`, and `code` or `error`.

        Returns:
            A redirect to the page, or a page that says why not.
        """
        visitor, query = get_visitor(request), request.query_params
        started = self._started.pop(query.get("state", ""), None)
        # Bound to the browser: nobody can sign another one in, by a link with an account of theirs.
        is_own = started is not None and hmac.compare_digest(started.visitor_id, visitor.name)
        if started is None or not is_own or not visitor.has_cookie or started.deadline < time.monotonic():
            return self._render_refusal("bad_state", 400)
        code = query.get("code", "")
        if "error" in query or not 0 < len(code) <= MAX_CODE_CHARS:
            return self._render_refusal("declined", 403)
        try:
            account = await self._client.fetch_account(code, started.verifier, self._redirect_url, started.scopes)
        except ProviderError as error:
            return self._refuse_provider(error)
        new_name = request.scope[visitors.NEW_NAME_KEY] = visitors.create_name()
        self._accounts.sign_out(visitor.name)
        self._accounts.sign_in(new_name, account)
        self._membership.move_member(visitor.name, account.id)
        owners = (run_quota.make_owner(visitor.name), run_quota.make_owner(account.id))
        await to_thread.run_sync(run_quota.hand_over_runs, self._runs_dir, *owners)
        return RedirectResponse("/", 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    async def sign_out(self, request: Request) -> Response:
        """Forget the account of a browser.

        Args:
            request: of a visitor.

        Returns:
            JSON with `location`, where to go.
        """
        self._accounts.sign_out(get_visitor(request).name)
        return JSONResponse({"location": "/"})

    def _note_start(self, state: str, started: _StartedSignIn) -> None:
        """Keep a sign-in until somebody comes back."""
        own_states = [key for key, other in self._started.items() if other.visitor_id == started.visitor_id]
        for key in own_states[: len(own_states) + 1 - MAX_STARTED_BY_VISITOR]:
            del self._started[key]
        self._started[state] = started
        while len(self._started) > MAX_STARTED:
            self._started.popitem(last=False)

    def _refuse_provider(self, error: ProviderError) -> Response:
        """Return the page that says so, with one line in the log."""
        logging.getLogger(__name__).warning("sign-in: %s", error)
        return self._render_refusal("no_provider", 502)

    def _render_refusal(self, message_key: str, status: int) -> Response:
        """Return a page that says why nobody was signed in."""
        title = messages.get_text("sign_in.title")
        body = tag(
            "main",
            tag("h1", title),
            tag("p", messages.get_text(f"sign_in.{message_key}"), role="alert"),
            tag("p", tag("a", messages.get_text("sign_in.back"), href="/")),
        )
        return HTMLResponse(render_document(title, body, "sign-in"), status, {"Cache-Control": "no-store"})
