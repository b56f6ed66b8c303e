"""Download a file with progress, resume after a broken connection, and never accept an incomplete file."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ftlab import __version__
from ftlab.core import file_io

TIMEOUT_SECONDS = 30.0
"""Seconds without a byte after which a connection is abandoned."""
MAX_ATTEMPTS = 5
"""Connections in a row that may fail without a byte received."""
RETRY_DELAY_SECONDS = 1.0
"""Pause in seconds before the next attempt."""
_CHUNK_BYTES = 1 << 18
_HTTP_PARTIAL, _HTTP_OK, _HTTP_RANGE_ERROR = 206, 200, 416

DownloadProgress = Callable[[int, int], None]
"""Called with the bytes received so far and the total; 0 where it is unknown."""


class DownloadError(Exception):
    """A download that failed for good; the message is the reason in a few words."""


def download_file(url: str, file: Path, expected_bytes: int = 0, progress: DownloadProgress | None = None) -> None:
    """Download a file, which appears under its name only when it is complete.

    Received bytes are kept next to it as `<name>.part`, and a later call resumes from there if the server still has
    the same file; else it starts again. A file that cannot be written raises an `OSError`.

    Args:
        url: address of the file.
        file: where to put it.
        expected_bytes: size in bytes that is required; 0: whatever the server announces.
        progress: called after each chunk.

    Raises:
        DownloadError: the server is not reachable, refuses, or has a file of another size.
    """
    partial_file, attempts_left = file.with_name(f"{file.name}.part"), MAX_ATTEMPTS
    reason = ""
    while attempts_left:
        previous_bytes = _file_size(partial_file)
        try:
            if _resume_download(url, partial_file, expected_bytes, progress or (lambda *_: None)):
                partial_file.replace(file)
                _state_file(partial_file).unlink(missing_ok=True)
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as cause:
            cause.close()
            reason = f"HTTP {cause.code} {cause.reason}"
            # Client errors are final, except for a request timeout (408) and too many requests (429).
            if cause.code < 500 and cause.code not in (408, 429):
                break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as cause:
            reason = describe_error(cause)
        # Progress resets the count: a slow line that breaks off every minute still gets the file.
        attempts_left = MAX_ATTEMPTS if _file_size(partial_file) > previous_bytes else attempts_left - 1
        if attempts_left:
            time.sleep(RETRY_DELAY_SECONDS)
    raise DownloadError(reason)


def _resume_download(url: str, partial_file: Path, expected_bytes: int, progress: DownloadProgress) -> bool:
    """Make one connection that appends to the partial file.

    Args:
        url: address of the file.
        partial_file: bytes received so far.
        expected_bytes: required size in bytes, or 0.
        progress: called after each chunk.

    Returns:
        Whether the file is complete.

    Raises:
        DownloadError: the file on the server has another size than `expected_bytes`.
        HTTPError: the server refuses; `urllib` raises it.
        HTTPException: an answer that is neither the file nor the requested range of it.
    """
    offset, state_file = _file_size(partial_file), _state_file(partial_file)
    state = _read_state(state_file)
    try:
        response = urllib.request.urlopen(_build_request(url, offset, state), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != _HTTP_RANGE_ERROR:
            raise
        error.close()
        if offset == (expected_bytes or state.get("total")):
            return True
        partial_file.unlink(missing_ok=True)  # longer than the file on the server: another file
        return False
    with response:
        start, total_bytes = parse_content_range(response)
        if response.status not in (_HTTP_OK, _HTTP_PARTIAL) or start not in (0, offset):
            raise http.client.HTTPException(f"HTTP {response.status}")
        if expected_bytes and total_bytes and total_bytes != expected_bytes:
            raise DownloadError(f"what is there now has {total_bytes:,} bytes, not {expected_bytes:,}")
        # A weak ETag does not guarantee identical bytes, and If-Range does not allow it.
        etag = response.headers.get("ETag", "")
        version = "" if etag.startswith("W/") else etag or response.headers.get("Last-Modified", "")
        state_file.write_text(json.dumps({"url": url, "version": version, "total": total_bytes}), encoding="utf-8")
        received_bytes = _write_response(
            response, partial_file, start, lambda received: progress(received, total_bytes)
        )
    return received_bytes == (expected_bytes or total_bytes or received_bytes)


def _build_request(url: str, offset: int, state: dict[str, Any]) -> urllib.request.Request:
    """Build the request for a file, or for the rest of it if the partial file is from the same address.

    Args:
        url: address of the file.
        offset: bytes received so far.
        state: recorded address and version of the partial file.

    Returns:
        The request.
    """
    # Identity: byte ranges and sizes count the file itself only if it is not compressed on the way.
    headers = {"User-Agent": f"ftlab/{__version__}", "Accept-Encoding": "identity"}
    if offset and state.get("url") == url:
        headers["Range"] = f"bytes={offset}-"
        # With If-Range the server sends the whole file instead of a range if it has changed (RFC 9110, 13.1.5).
        if state.get("version"):
            headers["If-Range"] = state["version"]
    return urllib.request.Request(url, headers=headers)


def _write_response(
    response: http.client.HTTPResponse, partial_file: Path, start: int, progress: Callable[[int], None]
) -> int:
    """Write a response to the partial file.

    Args:
        response: of the server.
        partial_file: bytes received so far; bytes from `start` on are replaced.
        start: position of the response's first byte in the file.
        progress: called after each chunk with the bytes received so far.

    Returns:
        Bytes in the partial file.
    """
    received_bytes = start
    # The server may have started from 0 although a range was requested: then the file is written anew.
    with partial_file.open("r+b" if start else "wb") as output:
        output.seek(start)
        output.truncate()
        while chunk := response.read(_CHUNK_BYTES):
            output.write(chunk)
            received_bytes += len(chunk)
            progress(received_bytes)
    return received_bytes


def parse_content_range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """Return the first byte of a response (-1 if unreadable) and the size of the whole file in bytes (0 if unknown)."""
    if response.status == _HTTP_PARTIAL:
        byte_range, _, total = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
        start = byte_range.partition("-")[0]
        return int(start) if start.isdecimal() else -1, int(total) if total.isdecimal() else 0
    length = response.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdecimal() else 0


def _state_file(partial_file: Path) -> Path:
    """Return the path of the JSON file that records the address and version of a partial file."""
    return partial_file.with_name(f"{partial_file.name}.json")


def _read_state(state_file: Path) -> dict[str, Any]:
    """Return address, version and total size of a partial file; empty if they are not known."""
    with suppress(OSError, ValueError):
        state = json.loads(file_io.read_regular_file(state_file))
        return state if isinstance(state, dict) else {}
    return {}


def _file_size(file: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    with suppress(OSError):
        return file.stat().st_size
    return 0


def describe_error(cause: BaseException) -> str:
    """Return the reason of a connection error in a few words; `urllib` wraps the original error as `reason`."""
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, TimeoutError):
        return f"nothing came for {TIMEOUT_SECONDS:.0f} s"
    return str(getattr(reason, "strerror", None) or reason or type(cause).__name__).splitlines()[0].rstrip(".")
