"""Access control: folders that this server may read, requests that it answers, disk space that uploads may take.

`ServerProfile` is fixed at the start. Every path that comes from a page goes through `resolve_inside`.
`AccessMiddleware` runs before Gradio: it refuses foreign host names (DNS rebinding), requests sent by another site's
page, files named by web address, and uploads beyond the quota.
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
"""Addresses that only this machine reaches."""
SPACE_TIME_LIMIT_MINUTES = 10.0
"""Time limit of a training started by a visitor of a public Space, in minutes."""
UPLOAD_QUOTA_BYTES = 4 << 30
"""Bytes of disk space that uploads and files unpacked from them may take, over all visitors."""
MAX_UPLOAD_BYTES = 256 << 20
"""Bytes of one upload request, all of its files together."""


@dataclass(frozen=True)
class ServerProfile:
    """Permissions of this server.

    Attributes:
        data_root: image folders are allowed below it; None: sample sets only, and no path field.
        runs_dir: folder of the runs.
        is_space: a public Space: visitors are strangers, and each sees their own runs only.
        max_minutes: time limit of a training, in minutes; 0: none.
        hosts: host names that the server answers to besides IP addresses and its own name; `*`: any.
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
    """Create the profile of a server from its settings.

    On a Space (`SPACE_ID` is set) no folder is allowed, whatever `data_root` is. A server for this machine only allows
    the home folder; a server for others allows no folder unless one is given.

    Args:
        host: address that the server listens on.
        data_root: folder below which images are allowed.
        runs_dir: folder of the runs.
        hosts: further host names that the server answers to.
        environment: environment variables.

    Returns:
        The profile.

    Raises:
        DataError: `data_root` is not a folder.
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
    """Return the real path of what a page sent, if it lies below `root`; symlinks are resolved before the check.

    Args:
        root: the folder allowed; None: none is.
        path: as typed: absolute, from `~`, or relative to `root`.

    Returns:
        The absolute path, which need not exist.

    Raises:
        DataError: it lies outside, or is not a valid path. Existence is not checked, so that the answer tells nothing
            about files outside.
    """
    if root is None:
        raise DataError("page.no_folders")
    typed_path = str(path).strip()
    try:
        real_path = (root / Path(typed_path).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as cause:  # a NUL byte, a loop of links, "~nobody"
        raise DataError("page.no_path", folder=typed_path) from cause
    # Unpacked uploads may lie below the root (the home folder), and belong to their visitors alone.
    if not real_path.is_relative_to(root.resolve()) or real_path.is_relative_to(get_visitors_dir().resolve()):
        raise DataError("page.outside", folder=typed_path, root=root)
    return real_path


def get_visitors_dir() -> Path:
    """Return the folder of the unpacked uploads of all visitors.

    Each upload is found by a secret random name, so no typed path may lead there.
    """
    return user_dirs.get_ftlab_home() / "visitors"


class AccessMiddleware:
    """ASGI middleware that checks each request before Gradio sees it."""

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
        """Store limits and collect the allowed host names.

        Args:
            app: the next ASGI application.
            hosts: host names to answer to besides IP addresses, `localhost` and the machine's own name; `*` for any.
            uploads_dir: folder of Gradio's uploads and cache, which counts towards the quota.
            unpacked_dir: folder of files unpacked from them, which counts too.
            allow_framing: other sites may embed the page in a frame (a Space needs it).
            quota_bytes: bytes that both folders may hold together.
            max_upload_bytes: bytes of one upload request.
        """
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
            refusal = await to_thread.run_sync(self._check_quota, headers)
        if refusal is not None:
            status, message_key = refusal
            response = PlainTextResponse(messages.get_text(f"server.{message_key}"), status_code=status)
            return await response(scope, receive, send)
        return await self.app(scope, receive, self._add_security_headers(send))

    def _find_refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and message key of a refusal, None for a request that is allowed."""
        if not self._is_known_host(headers.get("host", "")):
            return 400, "host"
        # Gradio would download the address (server-side request forgery).
        if "file=http:" in scope["path"] or "file=https:" in scope["path"]:
            return 403, "remote"
        # Reading needs no check: the browser does not let another site's page read the response.
        is_read_request = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return None if is_read_request or not self._is_cross_site(headers) else (403, "origin")

    def _is_known_host(self, host: str) -> bool:
        """Return whether the Host header names this server, by IP address or allowed name."""
        name = _parse_host_name(host)
        if "*" in self.allowed_hosts or name in self.allowed_hosts:
            return True
        # DNS rebinding points a foreign name at this machine; an IP address cannot be rebound.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_cross_site(self, headers: Headers) -> bool:
        """Return whether a page of another site sent this request.

        Programs send no Origin header and are allowed.
        """
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "cross-site"
        origin_url = urlsplit(origin)
        return origin_url.netloc != headers.get("host") and origin_url.hostname not in self.public_hosts

    def _check_quota(self, headers: Headers) -> tuple[int, str] | None:
        """Return status and message key of a refusal of an upload, None where there is space for it."""
        content_length = headers.get("content-length", "")
        # Without a length (chunked transfer) the quota could only be checked once the disk is full.
        if not content_length.isdecimal():
            return 411, "length"
        if int(content_length) > self.max_upload_bytes:
            return 413, "large"
        # Measured at each upload, as Gradio removes its own files too.
        used_bytes = (sweep_uploads(self.uploads_dir) if self.uploads_dir else 0) + (
            file_io.get_folder_size(self.unpacked_dir) if self.unpacked_dir else 0
        )
        if used_bytes + int(content_length) > self.quota_bytes:
            return 507, "full"
        return None

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


def sweep_uploads(folder: Path, *, min_age_seconds: float = 60.0) -> int:
    """Remove the empty temporary files that Gradio's file components leave behind, and measure the folder.

    Args:
        folder: Gradio's upload folder.
        min_age_seconds: age in seconds from which an empty file counts as left behind; a younger one may be in use.

    Returns:
        Bytes below the folder.
    """
    total_bytes, now = 0, time.time()
    for path, file_stat in file_io.iter_files(folder):
        if file_stat.st_size == 0 and Path(path).name.startswith("tmp") and now - file_stat.st_mtime > min_age_seconds:
            with suppress(OSError):  # gone in the meantime
                Path(path).unlink()
        total_bytes += file_stat.st_size
    return total_bytes


def _list_own_hosts() -> list[str]:
    """Return the names of this machine: as it is, with `.local` (mDNS), and without its domain."""
    name = socket.gethostname().lower()
    return [name, f"{name}.local", name.split(".")[0]]


def _parse_host_name(host: str) -> str:
    """Return the name in a Host header without the port; empty where it holds credentials."""
    return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
