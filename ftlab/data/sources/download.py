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

PATIENCE = 30.0
"""Seconds without a byte after which a connection is given up."""
TRIES = 5
"""Connections in a row that may break off without a byte."""
PAUSE = 1.0
"""Seconds before the next one."""
_CHUNK = 1 << 18
_PARTIAL, _WHOLE, _BEYOND = 206, 200, 416

Progress = Callable[[int, int], None]
"""Told bytes so far, and in all; 0 where that is not known."""


class Failed(Exception):
    """The file is not to be had now. The message says why, in a few words."""


def get(url: str, file: Path, size: int = 0, progress: Progress | None = None) -> None:
    """Download an address to a file, which appears when it is whole.

    What came so far stays beside it as `<name>.part`, and a later call goes on from there, if the server still has the
    same file; else it begins again.

    Args:
        size: bytes that must come; 0: as many as the server says.
        progress: called after each piece.

    Raises:
        Failed: it cannot be had.
        OSError: it cannot be written.
    """
    part, left = file.with_name(f"{file.name}.part"), TRIES
    reason = ""
    while left:
        before = _size(part)
        try:
            if _go_on(url, part, size, progress or (lambda *_: None)):
                os.replace(part, file)
                _mark(part).unlink(missing_ok=True)
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as cause:
            cause.close()
            reason = f"HTTP {cause.code} {cause.reason}"
            if cause.code < 500 and cause.code not in (408, 429):  # asking again gives the same answer
                break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as cause:
            reason = _why(cause)
        left = TRIES if _size(part) > before else left - 1
        if left:
            time.sleep(PAUSE)
    raise Failed(reason)


def _go_on(url: str, part: Path, size: int, tell: Progress) -> bool:
    """One connection; whether the file is whole after it.

    Raises:
        Failed: it has another length.
    """
    have, mark = _size(part), _mark(part)
    headers = {"User-Agent": f"ftlab/{__version__}", "Accept-Encoding": "identity"}
    known = _read(mark)
    if have and known.get("url") == url:
        headers["Range"] = f"bytes={have}-"
        if known.get("version"):
            headers["If-Range"] = known["version"]
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)
    except urllib.error.HTTPError as refusal:
        if refusal.code != _BEYOND:
            raise
        refusal.close()
        if have == (size or known.get("total")):
            return True
        part.unlink(missing_ok=True)  # longer than the file is by now: another one
        return False
    with answer:
        start, total = _span(answer)
        if answer.status not in (_WHOLE, _PARTIAL) or start not in (0, have):
            raise http.client.HTTPException(f"HTTP {answer.status}")
        if size and total and total != size:
            raise Failed(f"what is there now has {total:,} bytes, not {size:,}")
        # A weak tag says nothing of bytes.
        tag = answer.headers.get("ETag", "")
        version = "" if tag.startswith("W/") else tag or answer.headers.get("Last-Modified", "")
        mark.write_text(json.dumps({"url": url, "version": version, "total": total}), encoding="utf-8")
        done = start
        with open(part, "r+b" if start else "wb") as out:
            out.seek(start)
            out.truncate()
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                tell(done, total)
    return done == (size or total or done)


def _span(answer: http.client.HTTPResponse) -> tuple[int, int]:
    """The byte at which an answer begins, and the length of the whole file; 0 where that is not said."""
    if answer.status == _PARTIAL:
        span, _, total = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
        start = span.partition("-")[0]
        return int(start) if start.isdecimal() else -1, int(total) if total.isdecimal() else 0
    length = answer.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdecimal() else 0


def _mark(part: Path) -> Path:
    """Beside half a file: where it is from, and which version it is of."""
    return part.with_name(f"{part.name}.json")


def _read(mark: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        known = json.loads(mark.read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else {}
    return {}


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _why(cause: BaseException) -> str:
    inner = getattr(cause, "reason", cause)
    if isinstance(inner, TimeoutError):
        return f"nothing came for {PATIENCE:.0f} s"
    return str(getattr(inner, "strerror", None) or inner or type(cause).__name__).splitlines()[0].rstrip(".")
