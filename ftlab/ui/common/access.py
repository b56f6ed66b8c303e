"""Who may do what: where this server may look, whose requests it answers, how much it stores for them.

`ServerProfile` is decided once, at the start. `resolve_inside` is the only door for a path that came from a page. `AccessMiddleware` stands
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

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
SPACE_TIME_LIMIT_MINUTES = 10.0
"""Time limit of a training that a visitor of a public Space starts, in minutes."""
UPLOAD_QUOTA_BYTES = 4 << 30
"""Bytes that uploads and what is made from them may take on the disk, over all visitors."""
MAX_UPLOAD_BYTES = 256 << 20
"""Bytes of one upload request, all of its files together: of one zip, or of some pictures."""


@dataclass(frozen=True)
class ServerProfile:
    """What this server is for.

    Attributes:
        data_root: folders of pictures are looked for below it; None: sample sets only, and no path field.
        runs_dir: folder of the runs.
        is_space: a public Space: strangers, and only a visitor's own run is shown to them.
        max_minutes: time limit of a training, in minutes; 0: none.
        hosts: host names that the server answers to beside addresses and its own; `*`: any.
        is_local: only this machine reaches it.
    """

    data_root: Path | None
    runs_dir: Path
    is_space: bool = False
    max_minutes: float = 0.0
    hosts: tuple[str, ...] = ()
    is_local: bool = False


def create_profile(
    *,
    host: str = "127.0.0.1",
    data_root: str | Path | None = None,
    runs_dir: str | Path = "runs",
    hosts: tuple[str, ...] = (),
    environment: Mapping[str, str] = os.environ,
) -> ServerProfile:
    """The profile of a start.

    On a Space (`SPACE_ID` is set) there is no folder to look below, whatever was asked for. A start for this
    machine only looks below the person's home folder; a start for others looks nowhere unless a folder is named.

    Args:
        host: address that the server listens on.
        data_root: folder to look below, if named.
        runs_dir: folder of the runs.
        hosts: further host names that the server answers to.
        environment: variables of the environment.

    Raises:
        DataError: `data_root` is no folder.
    """
    if environment.get("SPACE_ID"):
        return ServerProfile(
            None, Path(runs_dir).absolute(), is_space=True, max_minutes=SPACE_TIME_LIMIT_MINUTES, hosts=("*",)
        )
    if data_root is None:
        root = Path.home().resolve() if host in LOOPBACK_HOSTS else None
    else:
        root = Path(data_root).expanduser().resolve()
        if not root.is_dir():
            raise DataError("page.data_root", folder=data_root)
    return ServerProfile(root, Path(runs_dir).absolute(), hosts=hosts, is_local=host in LOOPBACK_HOSTS and not hosts)


def resolve_inside(root: Path | None, path: str | Path) -> Path:
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
    typed_path = str(path).strip()
    try:
        real_path = (root / Path(typed_path).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as cause:  # a NUL byte, a loop of links, "~nobody"
        raise DataError("page.no_path", folder=typed_path) from cause
    if not real_path.is_relative_to(root.resolve()) or real_path.is_relative_to(get_visitors_dir().resolve()):
        raise DataError("page.outside", folder=typed_path, root=root)
    return real_path


def get_visitors_dir() -> Path:
    """Where the unpacked uploads of all visitors lie: each finds its own by a name that nobody else is told, so no
    path that is typed leads there."""
    return user_dirs.get_ftlab_home() / "visitors"


class AccessMiddleware:
    """ASGI middleware that stands before Gradio.

    Args:
        app: what comes behind.
        allowed_hosts: names to answer to beside addresses, `localhost` and the machine's own name; `*` for any.
        uploads_dir: folder of Gradio's uploads and cache, which the quota counts.
        unpacked_dir: folder of what was made from them, which it counts too.
        allow_framing: other sites may show the page in a frame (a Space needs it).
        quota_bytes: bytes that `uploads_dir` may hold.
        max_upload_bytes: bytes of one upload request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: tuple[str, ...] = (),
        uploads_dir: Path | None = None,
        unpacked_dir: Path | None = None,
        allow_framing: bool = False,
        quota_bytes: int = UPLOAD_QUOTA_BYTES,
        max_upload_bytes: int = MAX_UPLOAD_BYTES,
    ) -> None:
        self.app = app
        self.public_hosts = {name.lower() for name in (*hosts, os.environ.get("SPACE_HOST", "")) if name}
        self.allowed_hosts = self.public_hosts | {"localhost", *_list_own_hosts()}
        self.uploads_dir, self.unpacked_dir, self.allow_framing, self.quota_bytes, self.max_upload_bytes = (
            uploads_dir,
            unpacked_dir,
            allow_framing,
            quota_bytes,
            max_upload_bytes,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = self._find_refusal(scope, headers)
        if refusal is None and scope.get("method") == "POST" and scope["path"].endswith("/upload"):
            refusal = await to_thread.run_sync(self._check_quota, headers)
        if refusal is not None:
            status, message_key = refusal
            response = PlainTextResponse(messages.get_text(f"server.{message_key}"), status_code=status)
            return await response(scope, receive, send)
        return await self.app(scope, receive, self._add_security_headers(send))

    def _find_refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        if not self._is_known_host(headers.get("host", "")):
            return 400, "host"
        if "file=http:" in scope["path"] or "file=https:" in scope["path"]:
            return 403, "remote"
        is_read_request = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return None if is_read_request or not self._is_cross_site(headers) else (403, "origin")

    def _is_known_host(self, host: str) -> bool:
        name = _parse_host_name(host)
        if "*" in self.allowed_hosts or name in self.allowed_hosts:
            return True
        try:  # a page can point a name of its own at this machine, but not an address
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_cross_site(self, headers: Headers) -> bool:
        """Whether a page of another site sent this. Programs send no Origin and are not meant."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "cross-site"
        origin_url = urlsplit(origin)
        return origin_url.netloc != headers.get("host") and origin_url.hostname not in self.public_hosts

    def _check_quota(self, headers: Headers) -> tuple[int, str] | None:
        content_length = headers.get("content-length", "")
        if not content_length.isdecimal():
            return 411, "length"
        if int(content_length) > self.max_upload_bytes:
            return 413, "large"
        used_bytes = (sweep_uploads(self.uploads_dir) if self.uploads_dir else 0) + (
            file_io.get_folder_size(self.unpacked_dir) if self.unpacked_dir else 0
        )
        if used_bytes + int(content_length) > self.quota_bytes:
            return 507, "full"
        return None

    def _add_security_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if not self.allow_framing:
                    headers["Content-Security-Policy"] = "frame-ancestors 'self'"
            await send(message)

        return send_with_headers


def sweep_uploads(folder: Path, *, min_age_seconds: float = 60.0) -> int:
    """Remove the empty files that Gradio's file components leave behind, and count what is there.

    Args:
        folder: Gradio's folder of uploads.
        min_age_seconds: age in seconds from which an empty file counts as left behind.

    Returns:
        Bytes below the folder.
    """
    total_bytes, now = 0, time.time()
    for path, file_stat in file_io.iter_files(folder):
        if (
            file_stat.st_size == 0
            and os.path.basename(path).startswith("tmp")
            and now - file_stat.st_mtime > min_age_seconds
        ):
            with suppress(OSError):  # gone in the meantime
                os.unlink(path)
        total_bytes += file_stat.st_size
    return total_bytes


def _list_own_hosts() -> list[str]:
    name = socket.gethostname().lower()
    return [name, f"{name}.local", name.split(".")[0]]


def _parse_host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
