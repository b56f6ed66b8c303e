"""A server on this machine that gives a file as good servers do, and as bad ones do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Gives `content` under any path.

    Attributes:
        content: the file.
        asked: the `Range` of each request, None where it asked for all.
        cut: bytes after which each of as many next answers breaks off.
        statuses: what the next requests are answered with instead.
        ignores_ranges: it gives the whole file whatever was asked for.
        says_no_length: and says not how long it is.
        stall: seconds that an answer stands still after its first bytes.
        redirect: the path `/old` leads to this address.
    """

    daemon_threads = True
    # A handler that stalls is not waited for.
    block_on_close = False

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.asked: list[str | None] = []
        self.cut: list[int] = []
        self.statuses: list[int] = []
        self.ignores_ranges = self.says_no_length = False
        self.stall = 0.0
        self.redirect = ""
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.zip"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other end went away, as some tests do on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        self.close_connection = True
        if self.path.startswith("/old"):
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        content, start = server.content, 0
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if wanted and not server.ignores_ranges and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        if not server.says_no_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        end = start + server.cut.pop(0) if server.cut else len(content)
        if server.stall:
            self.wfile.write(content[start : start + 10])
            self.wfile.flush()
            server.done.wait(server.stall)
            return
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say on the terminal."""


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """A server at work."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
