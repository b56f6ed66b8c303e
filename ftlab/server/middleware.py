"""ASGI middleware that checks each request before Gradio sees it."""

from __future__ import annotations

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import messages
from ftlab.server.origins import OriginRules
from ftlab.server.upload_quota import UploadQuota


class AccessMiddleware:
    """Refusal of foreign host names, requests by another site's page, files by web address, uploads past the quota."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: tuple[str, ...] = (),
        upload_quota: UploadQuota | None = None,
        allow_framing: bool = False,
    ) -> None:
        """Store the rules.

        Args:
            app: the next ASGI application.
            hosts: host names to answer to besides IP addresses, `localhost` and the machine's own name; `*` for any.
            upload_quota: limits on uploads; None: the default limits, with no folder counted.
            allow_framing: other sites may embed the page in a frame (a Space needs it).
        """
        self.app = app
        self.origin_rules = OriginRules(hosts)
        self.upload_quota = upload_quota or UploadQuota()
        self.allow_framing = allow_framing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or pass it on with security headers added to the response.

        Args:
            scope: ASGI connection scope.
            receive: ASGI receive channel.
            send: ASGI send channel.

        Returns:
            None; ASGI answers through `send`.
        """
        # Lifespan events of the server itself.
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = self._find_refusal(scope, headers)
        if refusal is None and scope.get("method") == "POST" and scope["path"].endswith("/upload"):
            # In a thread: it walks over the upload folders, and would block the server's event loop.
            content_length = headers.get("content-length", "")
            refusal = await to_thread.run_sync(self.upload_quota.find_refusal, content_length)
        if refusal is not None:
            status, message_key = refusal
            response = PlainTextResponse(messages.get_text(f"server.{message_key}"), status_code=status)
            return await response(scope, receive, send)
        return await self.app(scope, receive, self._add_security_headers(send))

    def _find_refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and message key of a refusal, None for a request that is allowed."""
        if not self.origin_rules.is_known_host(headers.get("host", "")):
            return 400, "host"
        # Gradio would download the address (server-side request forgery).
        if "file=http:" in scope["path"] or "file=https:" in scope["path"]:
            return 403, "remote"
        # Reading needs no check: the browser does not let another site's page read the response.
        is_read_request = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return None if is_read_request or not self.origin_rules.is_cross_site(headers) else (403, "origin")

    def _add_security_headers(self, send: Send) -> Send:
        """Return a `send` that adds headers against MIME sniffing and framing to a response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if not self.allow_framing:
                    headers["Content-Security-Policy"] = "frame-ancestors 'self'"
            await send(message)

        return send_with_headers
