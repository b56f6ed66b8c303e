"""HTTP status of refused calls: Gradio answers every error of a handler with status 500, as if it were its own."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.ui.common.page_events import find_scope

BUSY_CODE, BUG_CODE = "server.busy", "server.bug"
"""Codes of refusals that are no `FtlabError`."""
_STATUS_KEY = "ftlab.refusal_status"
_GRADIO_STATUS, _DEFAULT_STATUS = 500, 400
_STATUSES = {
    BUG_CODE: 500,
    BUSY_CODE: 429,
    "run.queue_full": 429,
    "run.missing": 404,
    "run.may_not_start": 403,
    "run.not_yours": 403,
}
"""HTTP status by the code of a refusal; `_DEFAULT_STATUS` for all others, which are mistakes in what was sent."""


@dataclass
class _Refusal:
    """Refusal of the request that is being handled.

    Attributes:
        status: HTTP status; None while it is not refused.
    """

    status: int | None = None


def set_refusal_status(code: str) -> None:
    """Set the status with which the call that is being handled will be refused; nothing outside of a server.

    Args:
        code: of the refusal.
    """
    # An object in the scope, not the scope: each mounted application has a copy of that.
    refusal = (find_scope() or {}).get(_STATUS_KEY)
    if isinstance(refusal, _Refusal):
        refusal.status = _STATUSES.get(code, _DEFAULT_STATUS)


class RefusalStatusMiddleware:
    """ASGI middleware around Gradio's application."""

    def __init__(self, app: ASGIApp) -> None:
        """Store the next application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer it with the status that its handler has set.

        Args:
            scope: ASGI connection scope.
            receive: ASGI receive channel.
            send: ASGI send channel.
        """
        refusal = scope[_STATUS_KEY] = _Refusal()

        async def send_status(message: Message) -> None:
            is_refused = message["type"] == "http.response.start" and message["status"] == _GRADIO_STATUS
            if is_refused and refusal.status is not None:
                message = {**message, "status": refusal.status}
            await send(message)

        await self._app(scope, receive, send_status)
