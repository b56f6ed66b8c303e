"""A limit on the time that the headers of a request may take.

The limits on bodies (`ftlab.server.bodies`) count from the headers on. uvicorn itself closes a connection that is idle
after an answer, but waits without end for the first request, and for headers that arrive byte by byte: some hundred
connections of one visitor would then use up the files that a process may open.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_TIMEOUT_SECONDS = 20.0
"""Seconds from the connection, or from the first byte of a further request, to the end of the headers."""


class HeaderTimeoutProtocol(H11Protocol):
    """uvicorn's protocol of a connection, which is closed where the headers of a request take too long.

    It parses by h11, which is always there. uvicorn would change to httptools where that is installed, as trackio does:
    the server of a class must not depend on what its host tries beside it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Create the protocol of a connection.

        Args:
            *args: of the base class.
            **options: of the base class.
        """
        super().__init__(*args, **options)
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; with its last header, the time of its body begins."""
        last_cycle = self.cycle
        super().data_received(data)
        if self.cycle is not last_cycle:
            self._stop_timer()
        elif self._awaits_headers() and self._header_timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._stop_timer()
        super().connection_lost(exc)

    def _awaits_headers(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _start_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, self._end_wait)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_wait(self) -> None:
        """Close the connection if its request has not arrived; another one is closed by uvicorn when it is idle."""
        self._header_timer = None
        if self._awaits_headers():
            self.transport.close()


def limit_header_time() -> None:
    """Let the servers of this process use `HeaderTimeoutProtocol`. Repeating it changes nothing."""
    # uvicorn looks the class up by this name when a server starts; Gradio, which starts it, passes no other.
    auto.AutoHTTPProtocol = HeaderTimeoutProtocol
