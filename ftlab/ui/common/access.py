"""Who may do what: where this server may look, whose requests it answers, how much it stores for them.

`Profile` is decided once, at the start. `inside` is the only door for a path that came from a page. `Gate` stands
before Gradio: it refuses foreign host names (DNS rebinding), requests that another site's page sends, files by
web address, and uploads beyond the quota.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import file_io, messages, user_dirs
from ftlab.core.errors import DataError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SPACE_MINUTES = 10.0
"""Time limit of a training that a visitor of a public Space starts, in minutes."""
QUOTA = 4 << 30
"""Bytes that uploads and what is made from them may take on the disk, over all visitors."""
UPLOAD = 256 << 20
"""Bytes of one upload request, all of its files together: of one zip, or of some pictures."""


@dataclass(frozen=True)
class Profile:
    """What this server is for.

    Attributes:
        data_root: folders of pictures are looked for below it; None: sample sets only, and no path field.
        runs: folder of the runs.
        space: a public Space: strangers, and only a visitor's own run is shown to them.
        max_minutes: time limit of a training, in minutes; 0: none.
        hosts: host names that the server answers to beside addresses and its own; `*`: any.
        local: only this machine reaches it.
    """

    data_root: Path | None
    runs: Path
    space: bool = False
    max_minutes: float = 0.0
    hosts: tuple[str, ...] = ()
    local: bool = False


def profile(
    *,
    host: str = "127.0.0.1",
    data_root: str | Path | None = None,
    runs: str | Path = "runs",
    hosts: tuple[str, ...] = (),
    environment: Mapping[str, str] = os.environ,
) -> Profile:
    """The profile of a start.

    On a Space (`SPACE_ID` is set) there is no folder to look below, whatever was asked for. A start for this
    machine only looks below the person's home folder; a start for others looks nowhere unless a folder is named.

    Args:
        host: address that the server listens on.
        data_root: folder to look below, if named.
        runs: folder of the runs.
        hosts: further host names that the server answers to.
        environment: variables of the environment.

    Raises:
        DataError: `data_root` is no folder.
    """
    if environment.get("SPACE_ID"):
        return Profile(None, Path(runs).absolute(), space=True, max_minutes=SPACE_MINUTES, hosts=("*",))
    if data_root is None:
        root = Path.home().resolve() if host in LOOPBACK else None
    else:
        root = Path(data_root).expanduser().resolve()
        if not root.is_dir():
            raise DataError("page.data_root", folder=data_root)
    return Profile(root, Path(runs).absolute(), hosts=hosts, local=host in LOOPBACK and not hosts)


def inside(root: Path | None, path: str | Path) -> Path:
    """The real path of what a page named, if it lies below `root`; links are followed before the question is asked.

    Args:
        root: the folder allowed, None: none is.
        path: as typed: absolute, from `~`, or from `root`.

    Raises:
        DataError: it lies outside, or is no path at all. Whether it exists is not looked at, so that the answer
            tells nothing of what lies outside.
    """
    if root is None:
        raise DataError("page.no_folders")
    typed = str(path).strip()
    try:
        real = (root / Path(typed).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as cause:  # a NUL byte, a loop of links, "~nobody"
        raise DataError("page.no_path", folder=typed) from cause
    if not real.is_relative_to(root.resolve()) or real.is_relative_to(visitors().resolve()):
        raise DataError("page.outside", folder=typed, root=root)
    return real


def visitors() -> Path:
    """Where the unpacked uploads of all visitors lie: each finds its own by a name that nobody else is told, so no
    path that is typed leads there."""
    return user_dirs.home() / "visitors"


class Gate:
    """ASGI middleware that stands before Gradio.

    Args:
        app: what comes behind.
        hosts: names to answer to beside addresses, `localhost` and the machine's own name; `*` for any.
        uploads: folder of Gradio's uploads and cache, which the quota counts.
        unpacked: folder of what was made from them, which it counts too.
        framed: other sites may show the page in a frame (a Space needs it).
        quota: bytes that `uploads` may hold.
        upload: bytes of one upload request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: tuple[str, ...] = (),
        uploads: Path | None = None,
        unpacked: Path | None = None,
        framed: bool = False,
        quota: int = QUOTA,
        upload: int = UPLOAD,
    ) -> None:
        self.app = app
        self.named = {name.lower() for name in (*hosts, os.environ.get("SPACE_HOST", "")) if name}
        self.hosts = self.named | {"localhost", *_own_names()}
        self.uploads, self.unpacked, self.framed, self.quota, self.upload = uploads, unpacked, framed, quota, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and scope.get("method") == "POST" and scope["path"].endswith("/upload"):
            refusal = await to_thread.run_sync(self._full, headers)
        if refusal is not None:
            status, key = refusal
            answer = PlainTextResponse(messages.text(f"server.{key}"), status_code=status)
            return await answer(scope, receive, send)
        return await self.app(scope, receive, self._marked(send))

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        if not self._known(headers.get("host", "")):
            return 400, "host"
        if "file=http:" in scope["path"] or "file=https:" in scope["path"]:
            return 403, "remote"
        reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return None if reading or not self._foreign(headers) else (403, "origin")

    def _known(self, host: str) -> bool:
        name = _name(host)
        if "*" in self.hosts or name in self.hosts:
            return True
        try:  # a page can point a name of its own at this machine, but not an address
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _foreign(self, headers: Headers) -> bool:
        """Whether a page of another site sent this. Programs send no Origin and are not meant."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "cross-site"
        place = urlsplit(origin)
        return place.netloc != headers.get("host") and place.hostname not in self.named

    def _full(self, headers: Headers) -> tuple[int, str] | None:
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "length"
        if int(length) > self.upload:
            return 413, "large"
        there = (sweep(self.uploads) if self.uploads else 0) + (file_io.size(self.unpacked) if self.unpacked else 0)
        if there + int(length) > self.quota:
            return 507, "full"
        return None

    def _marked(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if not self.framed:
                    headers["Content-Security-Policy"] = "frame-ancestors 'self'"
            await send(message)

        return wrapped


def sweep(folder: Path, *, older_than: float = 60.0) -> int:
    """Remove the empty files that Gradio's file components leave behind, and count what is there.

    Args:
        folder: Gradio's folder of uploads.
        older_than: age in seconds from which an empty file counts as left behind.

    Returns:
        Bytes below the folder.
    """
    total, now = 0, time.time()
    for path, facts in file_io.files(folder):
        if facts.st_size == 0 and os.path.basename(path).startswith("tmp") and now - facts.st_mtime > older_than:
            with suppress(OSError):  # gone in the meantime
                os.unlink(path)
        total += facts.st_size
    return total


def _own_names() -> list[str]:
    name = socket.gethostname().lower()
    return [name, f"{name}.local", name.split(".")[0]]


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
