"""A server of files on this machine, as a source of weights is one, and as it is on a bad day."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.support.running_server import running_server

COMMIT = "0123456789" * 4


class Source:
    """What is served, by path, and how.

    Attributes:
        files: content by the end of the path.
        manner: `well`; `cut` ends in the middle; `damaged` changes a byte; `silent` stops in the middle and waits.
        asked: (method, path) of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.manner = "well"
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self.enough = threading.Event()


@contextmanager
def serving() -> Iterator[Source]:
    """A source at `url`, until the end of the block."""
    source = Source()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            content = self._head()
            if content is None:
                return
            half = len(content) // 2
            self.close_connection = True
            if source.manner == "damaged":
                content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
            self.wfile.write(content[:half])
            self.wfile.flush()
            if source.manner == "silent":
                source.enough.wait()
            if source.manner in ("well", "damaged"):
                self.wfile.write(content[half:])

        def _head(self) -> bytes | None:
            source.asked.append((self.command, self.path))
            content = next((one for end, one in source.files.items() if self.path.endswith(end)), None)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            # As the Hugging Face Hub tells the checksum of a large file.
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            elif self.command == "GET":  # else the client may ask again on a connection that is just being closed
                self.send_header("Connection", "close")
            self.end_headers()
            return content

        def log_message(self, *_: object) -> None:
            return

    with running_server(Handler, source.enough) as source.url:
        yield source
