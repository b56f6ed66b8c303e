"""One file from the web: with progress, going on where it broke off, never taken for whole when it is not."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ftlab import __version__

TIMEOUT_SECONDS = 30.0
"""Seconds without a byte after which a connection is given up."""
MAX_ATTEMPTS = 5
"""Connections in a row that may break off without a byte."""
RETRY_DELAY_SECONDS = 1.0
"""Seconds before the next one."""
_CHUNK_BYTES = 1 << 18
_HTTP_PARTIAL, _HTTP_OK, _HTTP_RANGE_ERROR = 206, 200, 416

DownloadProgress = Callable[[int, int], None]
"""Told bytes so far, and in all; 0 where that is not known."""


class DownloadError(Exception):
    """The file is not to be had now. The message says why, in a few words."""


def download_file(url: str, file: Path, expected_bytes: int = 0, progress: DownloadProgress | None = None) -> None:
    """Download an address to a file, which appears when it is whole.

    What came so far stays beside it as `<name>.part`, and a later call goes on from there, if the server still has the
    same file; else it begins again.

    Args:
        expected_bytes: bytes that must come; 0: as many as the server says.
        progress: called after each piece.

    Raises:
        Failed: it cannot be had.
        OSError: it cannot be written.
    """
    partial_file, attempts_left = file.with_name(f"{file.name}.part"), MAX_ATTEMPTS
    reason = ""
    while attempts_left:
        previous_bytes = _file_size(partial_file)
        try:
            if _resume_download(url, partial_file, expected_bytes, progress or (lambda *_: None)):
                os.replace(partial_file, file)
                _state_file(partial_file).unlink(missing_ok=True)
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as cause:
            cause.close()
            reason = f"HTTP {cause.code} {cause.reason}"
            if cause.code < 500 and cause.code not in (408, 429):  # asking again gives the same answer
                break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as cause:
            reason = _describe_error(cause)
        attempts_left = MAX_ATTEMPTS if _file_size(partial_file) > previous_bytes else attempts_left - 1
        if attempts_left:
            time.sleep(RETRY_DELAY_SECONDS)
    raise DownloadError(reason)


def _resume_download(url: str, partial_file: Path, expected_bytes: int, progress: DownloadProgress) -> bool:
    """One connection; whether the file is whole after it.

    Raises:
        Failed: it has another length.
    """
    offset, state_file = _file_size(partial_file), _state_file(partial_file)
    headers = {"User-Agent": f"ftlab/{__version__}", "Accept-Encoding": "identity"}
    state = _read_state(state_file)
    if offset and state.get("url") == url:
        headers["Range"] = f"bytes={offset}-"
        if state.get("version"):
            headers["If-Range"] = state["version"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != _HTTP_RANGE_ERROR:
            raise
        error.close()
        if offset == (expected_bytes or state.get("total")):
            return True
        partial_file.unlink(missing_ok=True)  # longer than the file is by now: another one
        return False
    with response:
        start, total_bytes = _parse_content_range(response)
        if response.status not in (_HTTP_OK, _HTTP_PARTIAL) or start not in (0, offset):
            raise http.client.HTTPException(f"HTTP {response.status}")
        if expected_bytes and total_bytes and total_bytes != expected_bytes:
            raise DownloadError(f"what is there now has {total_bytes:,} bytes, not {expected_bytes:,}")
        # A weak tag says nothing of bytes.
        etag = response.headers.get("ETag", "")
        version = "" if etag.startswith("W/") else etag or response.headers.get("Last-Modified", "")
        state_file.write_text(json.dumps({"url": url, "version": version, "total": total_bytes}), encoding="utf-8")
        received_bytes = start
        with open(partial_file, "r+b" if start else "wb") as output:
            output.seek(start)
            output.truncate()
            while chunk := response.read(_CHUNK_BYTES):
                output.write(chunk)
                received_bytes += len(chunk)
                progress(received_bytes, total_bytes)
    return received_bytes == (expected_bytes or total_bytes or received_bytes)


def _parse_content_range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """The byte at which an answer begins, and the length of the whole file; 0 where that is not said."""
    if response.status == _HTTP_PARTIAL:
        byte_range, _, total = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
        start = byte_range.partition("-")[0]
        return int(start) if start.isdecimal() else -1, int(total) if total.isdecimal() else 0
    length = response.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdecimal() else 0


def _state_file(partial_file: Path) -> Path:
    """Beside half a file: where it is from, and which version it is of."""
    return partial_file.with_name(f"{partial_file.name}.json")


def _read_state(state_file: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        state = json.loads(state_file.read_text(encoding="utf-8"))
        return state if isinstance(state, dict) else {}
    return {}


def _file_size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _describe_error(cause: BaseException) -> str:
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, TimeoutError):
        return f"nothing came for {TIMEOUT_SECONDS:.0f} s"
    return str(getattr(reason, "strerror", None) or reason or type(cause).__name__).splitlines()[0].rstrip(".")
