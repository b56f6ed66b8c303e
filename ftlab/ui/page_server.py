"""The page behind ftlab's own checks, as one ASGI application, and the server that answers with it.

Gradio's application is mounted in one of ftlab's, so that every request passes the same middleware and has a sender
before Gradio sees it, whatever the profile of the server is.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request

from ftlab.core import user_dirs
from ftlab.core.errors import FtlabError
from ftlab.runs import run_quota
from ftlab.server.accounts.account_store import AccountStore
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.class_pages.class_routes import ClassRoutes
from ftlab.server.class_pages.sign_in_routes import SignInRoutes
from ftlab.server.class_pages.teacher_routes import CurvesLook, TeacherRoutes
from ftlab.server.listening.addresses import format_url
from ftlab.server.listening.tls import TlsFiles
from ftlab.server.middleware import AccessMiddleware
from ftlab.server.people.membership import Membership
from ftlab.server.profile import LOOPBACK_HOSTS, ServerProfile
from ftlab.server.redaction import FolderNames, PathRedaction, list_named_folders
from ftlab.server.upload_quota import MAX_UPLOAD_BYTES
from ftlab.server.visitors import load_key
from ftlab.ui import sent_choices
from ftlab.ui.api import mcp_tools
from ftlab.ui.api.refusal_status import RefusalStatusMiddleware
from ftlab.ui.common import gradio_guard, run_status, theme, uploads
from ftlab.ui.language import translated_page

SESSION_CAPACITY = 128
"""Open pages whose state stays in memory; beyond them, the one unused for longest is forgotten."""
START_TIMEOUT_SECONDS = 30.0
"""Seconds that the server has to answer its first request."""
_CLOSE_TIMEOUT_SECONDS = 5.0

MOUNT_OPTIONS: dict[str, Any] = {
    # Nothing that reaches other machines, shows tracebacks to visitors or answers for other programs.
    "ssr_mode": False,
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "max_file_size": MAX_UPLOAD_BYTES,
    "show_error": False,
    "pwa": False,
    "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
}
"""Arguments of `gr.mount_gradio_app` that are the same on every server."""


def mount_page(
    profile: ServerProfile, demo: gr.Blocks, membership: Membership | None = None, *, is_reachable: bool = True
) -> FastAPI:
    """Mount the page in an application with ftlab's middleware.

    Args:
        profile: profile of the server.
        demo: the page, not yet launched or mounted.
        membership: who is who on this server; None: as the files beside the runs have it.
        is_reachable: the server listens on addresses of the network, which its pages then name.

    Returns:
        The ASGI application.
    """
    membership = membership or Membership(profile.kind, profile.runs_dir)
    accounts = AccountStore()
    gradio_guard.apply_limits()
    sent_choices.pass_unknown_choices()
    # Gradio's statistics of finished events use pandas in a way that newer versions warn about.
    warnings.filterwarnings("ignore", module=r"gradio\.", category=FutureWarning)
    # FastAPI's own pages would name every route.
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=_list_middlewares(profile, demo, membership, accounts),
    )
    # Before Gradio, which answers every path.
    app.router.routes.extend(ClassRoutes(membership).list_routes())
    if not profile.is_local:
        app.router.routes.extend(
            TeacherRoutes(
                profile,
                membership,
                _build_curves_look(),
                erase_sent_files=partial(gradio_guard.erase_sent_files, demo),
                is_reachable=is_reachable,
            ).list_routes()
        )
    if profile.sign_in is not None:
        app.router.routes.extend(SignInRoutes(profile, profile.sign_in, accounts, membership).list_routes())
    gradio_guard.complete_mount_settings(demo, session_capacity=SESSION_CAPACITY)
    if profile.has_mcp:
        mcp_tools.replace_tool_server()
    gr.mount_gradio_app(
        app,
        demo,
        path="/",
        theme=theme.build_theme(),
        css_paths=theme.list_style_sheets(),
        favicon_path=str(theme.STATIC_DIR / "favicon.svg"),
        auth_dependency=name_sender,
        mcp_server=profile.has_mcp,
        # A copy: Gradio writes the lifespan of this page into it, which the next page would begin again.
        **copy.deepcopy(MOUNT_OPTIONS),
    )
    if profile.has_mcp:
        mcp_tools.check_mounted_tools(demo)
    return app


def _build_curves_look() -> CurvesLook:
    """Return how the projector draws curves: as the Train tab does, from the same watchers of the runs."""
    return CurvesLook(
        lambda run: run_status.watch_run(run).take_snapshot().curves_html,
        (theme.STATIC_DIR / "live.css").read_text(encoding="utf-8"),
    )


def name_sender(request: Request) -> str:
    """Return the name under which Gradio keeps a sender apart from others.

    Args:
        request: to Gradio's application, which has passed the middleware.

    Returns:
        A digest of the identity in the cookie; a new one each time for a sender without, as Gradio refuses those who
        have no name.
    """
    ticket = request.scope.get(TICKET_KEY)
    person_id = ticket.visitor.person.id if isinstance(ticket, Ticket) else ""
    return run_quota.make_owner(person_id) or secrets.token_hex(16)


def _list_middlewares(
    profile: ServerProfile, demo: gr.Blocks, membership: Membership, accounts: AccountStore
) -> list[Middleware]:
    """Return the middlewares of a server, the outermost first."""
    visitor_key = load_key(user_dirs.get_ftlab_home())
    middlewares = [
        Middleware(
            AccessMiddleware,
            profile=profile,
            membership=membership,
            accounts=accounts,
            upload_quota=uploads.open_upload_quota(profile),
            visitor_key=visitor_key,
            list_queued_tickets=partial(gradio_guard.list_queued_tickets, demo),
        )
    ]
    if not profile.is_local:
        folder_names = FolderNames(list_named_folders(profile, Path(get_upload_folder())), visitor_key)
        # What the first middleware answers itself is hidden too; what it checks are the bodies as they were sent.
        middlewares.insert(0, Middleware(PathRedaction, folder_names=folder_names, restores_requests=False))
        middlewares.append(
            Middleware(
                PathRedaction,
                folder_names=folder_names,
                hides_answers=False,
                find_free_texts=partial(gradio_guard.find_free_texts, demo),
            )
        )
    return [*middlewares, Middleware(RefusalStatusMiddleware), Middleware(translated_page.DocumentLanguage)]


class PageServer:
    """A running server of the page, in a thread of this process.

    Attributes:
        app: the application that answers.
        url: address of the page on this machine, with a slash at its end.
        port: port that it listens on.
    """

    def __init__(
        self,
        profile: ServerProfile,
        demo: gr.Blocks,
        *,
        host: str,
        port: int,
        membership: Membership | None = None,
        tls_files: TlsFiles | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """Mount the page and start to answer.

        Args:
            profile: profile of the server.
            demo: the page, not yet launched or mounted.
            host: address to listen on.
            port: port to listen on; 0: any free one.
            membership: see `mount_page`.
            tls_files: certificate and key for HTTPS; None: HTTP.
            trusted_proxies: addresses of proxies whose forwarded addresses count.

        Raises:
            FtlabError: the port was taken meanwhile, or the server did not start in time.
        """
        self._demo, self._profile = demo, profile
        self.app = mount_page(profile, demo, membership, is_reachable=host not in LOOPBACK_HOSTS)
        config = uvicorn.Config(
            self.app,
            host=host,
            port=port,
            log_level="warning",
            # The same server whatever else is installed: `auto` takes uvloop and WebSockets where it finds them.
            loop="asyncio",
            ws="none",
            forwarded_allow_ips=",".join(trusted_proxies),
            ssl_certfile=tls_files.certificate if tls_files else None,
            ssl_keyfile=str(tls_files.key) if tls_files else None,
        )
        self._server = _ThreadedServer(config)
        self._server.start()
        if not self._server.started:
            raise FtlabError("page.no_port", first=port, last=port)
        self.port = self._server.get_port()
        self.url = format_url(
            {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), self.port, is_https=tls_files is not None
        )

    @property
    def is_running(self) -> bool:
        """Return whether the server still answers."""
        return self._server.thread.is_alive()

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the running server."""
        assert self._server.event_loop is not None, "it has started"
        return self._server.event_loop

    def describe_tools(self) -> list[str]:
        """Return what is printed of the tools that the server tells when it is asked; nothing where it has none.

        Raises:
            FtlabError: it does not tell them; it is closed.
        """
        if not self._profile.has_mcp:
            return []
        try:
            names = mcp_tools.check_served_tools(self.app, self.event_loop)
        except FtlabError:
            self.close()
            raise
        return mcp_tools.describe_tools(self._profile.kind, names, self.url)

    def close(self) -> None:
        """End the open connections and the server. Repeating it changes nothing."""
        gradio_guard.close_mounted_page(self._demo)
        self._server.should_exit = True
        self._server.thread.join(_CLOSE_TIMEOUT_SECONDS)

    def __enter__(self) -> PageServer:
        """Return the server.

        Returns:
            This.
        """
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server."""
        self.close()


class _ThreadedServer(uvicorn.Server):
    """A server in a thread; signals belong to the main thread of the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Prepare the thread."""
        super().__init__(config)
        self.thread = threading.Thread(target=self._run_quietly, name="page-server", daemon=True)
        self.event_loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start, and wait until requests are answered or the server has given up."""
        self.thread.start()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.started and self.thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until the end.

        Args:
            sockets: that listen already; None: as the configuration says.
        """
        self.event_loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def get_port(self) -> int:
        """Return the port that the server listens on."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def _run_quietly(self) -> None:
        try:
            self.run()
        except SystemExit:  # the port is taken: uvicorn has logged it, and `start` returns
            self.started = False
