"""A connection whose headers take too long is closed; one that sends a request in time is answered."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from uvicorn import Config
from uvicorn.server import ServerState

from ftlab.server import slow_headers

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def read_answer(chunks: list[bytes], seconds_between: float) -> bytes:
    """What a server answers to a connection that sends these bytes, until it closes it."""
    config = Config(PlainTextResponse("answer"), log_level="critical", ws="none")
    config.load()
    assert config.http_protocol_class is slow_headers.HeaderTimeoutProtocol
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: slow_headers.HeaderTimeoutProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for chunk in chunks:
            if not writer.is_closing():
                writer.write(chunk)
            await asyncio.sleep(seconds_between)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize(
    ("chunks", "answers"),
    [
        ([], 0),
        ([b"GET / HTTP/1.1\r\n", b"x-a: b\r\n"], 0),
        ([LAST], 1),
        ([LAST[:9], LAST[9:]], 1),
        ([REQUEST, LAST], 2),
        ([REQUEST, REQUEST[:9]], 1),
    ],
)
def test_headers_have_a_time_limit(chunks: list[bytes], answers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_headers, "HEADER_TIMEOUT_SECONDS", 0.2)
    slow_headers.limit_header_time()
    assert asyncio.run(read_answer(chunks, 0.02)).count(b"200 OK") == answers
