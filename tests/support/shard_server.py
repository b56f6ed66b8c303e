"""An HTTP server of shards on this machine, as it is on a bad day."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.running_server import running_server


class ShardServer:
    """Serves the files of a folder.

    Attributes:
        url: address of the folder.
        manner: called with the number of the request to a file, from 1: `well`; `cut` and `stall` after a third of the
            answer; `wrong_range` answers another range than the requested one; `whole` ignores ranges; `repeat` sends
            from the beginning and says so; `error` is HTTP 503; `chunked` tells no size.
        asked: path and range of each request.
    """

    def __init__(self) -> None:
        self.url = ""
        self.manner: Callable[[int], str] = lambda _: "well"
        self.asked: list[tuple[str, str]] = []
        self.version = "1"
        self.ended = threading.Event()


@contextmanager
def serving_shards(folder: Path) -> Iterator[ShardServer]:
    """A server of a folder, until the end of the block."""
    server_state = ShardServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            asked_range = self.headers.get("Range", "")
            server_state.asked.append((self.path, asked_range))
            file, manner = folder / self.path.strip("/"), server_state.manner(len(server_state.asked))
            if manner == "error" or not file.is_file():
                self.send_error(503 if manner == "error" else 404)
                return
            content, bounds = file.read_bytes(), re.match(r"bytes=(\d+)-", asked_range)
            start = int(bounds[1]) if bounds and manner != "whole" else 0
            if start:
                start = {"wrong_range": start // 2, "repeat": 0}.get(manner, start)
            body = content[start:]
            self.send_response(206 if start or (bounds and manner == "repeat") else 200)
            if bounds and manner != "whole":
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", f'"{server_state.version}"')
            if manner != "chunked":
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body[: len(body) // 3])
            self.wfile.flush()
            if manner == "stall":
                server_state.ended.wait()
            if manner not in ("cut", "stall"):
                self.wfile.write(body[len(body) // 3 :])

        def log_message(self, *_: object) -> None:
            return

    with running_server(Handler, server_state.ended) as server_state.url:
        yield server_state
