"""Limits on what a request carries: a stated length, its size, and the time that it may take.

A visitor who sends slowly, or stops in the middle, would otherwise hold memory, a file or a connection for as long as
they like.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from ftlab.server.routes import BodyKind

MAX_JSON_BYTES = 1 << 20
"""Bytes of a request that is not an upload."""
MAX_COMMAND_BYTES = 4 << 10
"""Bytes of a request to a route of ftlab's own."""
BODY_GRACE_SECONDS = 20.0
"""Seconds that any body may take."""
MIN_BYTES_PER_SECOND = 32 << 10
"""A longer body must come at least this fast, on average."""
IDLE_TIMEOUT_SECONDS = 20.0
"""Seconds without a byte after which a body counts as abandoned."""


class BodyRefusedError(Exception):
    """A body that was refused while it arrived.

    Attributes:
        status: HTTP status.
        message_key: key below `server.` in the messages.
    """

    def __init__(self, status: int, message_key: str) -> None:
        """Store status and reason."""
        super().__init__(message_key)
        self.status, self.message_key = status, message_key


def find_length_refusal(headers: Headers, body: BodyKind, max_upload_bytes: int) -> tuple[int, str] | None:
    """Check the stated length of a body.

    Args:
        headers: headers of the request.
        body: what the request may carry.
        max_upload_bytes: bytes of an upload.

    Returns:
        HTTP status and key below `server.` in the messages, or None.
    """
    lengths = headers.getlist("content-length")
    if body is BodyKind.NONE:
        has_body = "transfer-encoding" in headers or any(length.strip() != "0" for length in lengths)
        return (400, "body") if has_body else None
    # A chunked body has no length, and would be too large only once it is here.
    if "transfer-encoding" in headers or len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
        return 411, "length"
    if body is BodyKind.UPLOAD:
        return (413, "large") if int(lengths[0]) > max_upload_bytes else None
    limit = MAX_COMMAND_BYTES if body is BodyKind.COMMAND else MAX_JSON_BYTES
    return (413, "large_request") if int(lengths[0]) > limit else None


class BoundedReceive:
    """ASGI `receive` that counts the bytes of a body and limits its time.

    Once a body is refused, the application is told that the visitor has gone, so that it ends and keeps nothing.

    Attributes:
        refusal: why the body was refused; None while it is not.
        is_cut: the application was told that the visitor has gone, before the body was complete.
    """

    def __init__(self, receive: Receive, stated_bytes: int) -> None:
        """Start to count.

        Args:
            receive: ASGI receive channel.
            stated_bytes: length that the headers state.
        """
        self.refusal: BodyRefusedError | None = None
        self.is_cut = False
        self._receive = receive
        self._stated_bytes = stated_bytes
        self._received_bytes = 0
        self._is_complete = False
        self._deadline = time.monotonic() + BODY_GRACE_SECONDS + stated_bytes / MIN_BYTES_PER_SECOND

    async def __call__(self) -> Message:
        """Return the next message.

        Returns:
            A part of the body, or a disconnect.
        """
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        if self._is_complete:  # the application waits for the visitor to leave, for as long as it takes
            return await self._receive()
        try:
            message = await asyncio.wait_for(
                self._receive(), min(IDLE_TIMEOUT_SECONDS, max(0.0, self._deadline - time.monotonic()))
            )
        except TimeoutError:
            return self._refuse(408, "slow")
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)
            if self._received_bytes > self._stated_bytes:
                return self._refuse(400, "length_wrong")
        else:
            self.is_cut = True
        return message

    def _refuse(self, status: int, message_key: str) -> Message:
        self.refusal, self.is_cut = BodyRefusedError(status, message_key), True
        return {"type": "http.disconnect"}

    async def read_all(self) -> bytes | None:
        """Read the whole body; a `BodyRefusedError` says that it is longer than stated, or takes too long.

        Returns:
            The body; None if the visitor left.
        """
        chunks: list[bytes] = []
        while not self._is_complete:
            message = await self()
            if self.refusal is not None:
                raise self.refusal
            if message["type"] != "http.request":
                return None
            chunks.append(message.get("body", b""))
        return b"".join(chunks)


def parse_fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a command; none where it is no JSON object."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was read already, and then what comes after it.

    Args:
        body: the body.
        receive: ASGI receive channel from which it was read.

    Returns:
        ASGI receive channel for the application.
    """
    is_given = False

    async def receive_body() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body
