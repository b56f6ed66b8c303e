"""Downloads of weights, by the loaders of torch and of the Hugging Face Hub, with progress and a check of what came.

Both loaders write to a file of another name, and give it its own when it is whole: half a file is never taken for
one. They run in a thread, and who asks sees how far they are; one that stands still is given up.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

PATIENCE = 60.0
"""Seconds without a byte after which a download is given up."""
AGAIN = 0.5
"""Seconds between two looks at it."""
_FORGOTTEN = 3600.0
"""Age in seconds from which on nobody can still be writing to half a file."""


@dataclass
class Count:
    """How far a download is, in bytes; `total` is 0 until it is known."""

    done: int = 0
    total: int = 0


def from_url(url: str, file: Path, sha256: str) -> Iterator[Count]:
    """Download an address to a file, by torch's loader.

    Args:
        sha256: of what must come, whole or its first digits; empty where the source states none.

    Raises:
        OSError, RuntimeError: it cannot be had, is another file, or does not move; nothing is left behind.
    """
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    for half in file.parent.glob(f"{file.name}.*.partial"):  # of a process that was killed
        if time.time() - half.stat().st_mtime > _FORGOTTEN:
            half.unlink(missing_ok=True)
    count = Count()

    def look() -> None:
        sizes = [_size(half) for half in file.parent.glob(f"{file.name}.*.partial")]
        count.done = max([count.done, *sizes])

    yield from _watched(lambda: download_url_to_file(url, str(file), sha256 or None, progress=False), count, look)


def from_hub(repository: str, names: tuple[str, ...], cache: Path) -> Iterator[Count]:
    """Download the first of these files that a repository has into a cache of the Hugging Face Hub, by its loader.

    Raises:
        OSError, RuntimeError: it cannot be had, is another file, or does not move.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

    # What it has in common with the errors of the HTTP library under it, whichever that is.
    of_http: Any = HfHubHTTPError.__bases__
    count = Count()
    endpoint = os.environ.get("HF_ENDPOINT")

    class Counting(tqdm):
        def __init__(self, *args: Any, **facts: Any) -> None:
            super().__init__(*args, **{**facts, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            count.done += int(n or 0)
            return super().update(n)

    def get(name: str) -> None:
        told = get_hf_file_metadata(hf_hub_url(repository, name, endpoint=endpoint))
        count.total = told.size or 0
        path = hf_hub_download(repository, name, cache_dir=cache, endpoint=endpoint, tqdm_class=Counting)
        # Of a large file the tag is its SHA-256; the loader itself compares sizes only.
        if told.etag and re.fullmatch("[0-9a-f]{64}", told.etag):
            _hold(Path(path), told.etag)

    def work() -> None:
        for name in names:
            try:
                return get(name)
            except RemoteEntryNotFoundError:
                if name == names[-1]:
                    raise
            except of_http as cause:
                raise OSError(str(cause)) from cause

    yield from _watched(work, count, lambda: None)


def _hold(path: Path, sha256: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise OSError(f"its SHA-256 is {found}, not {sha256}")


def _watched(work: Callable[[], object], count: Count, look: Callable[[], None]) -> Iterator[Count]:
    """Run `work` in a thread; the count twice a second until it is done."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as failure:
            failures.append(failure)

    # A loader that waits for a silent server cannot be called back: it must not keep the process from its end.
    thread = threading.Thread(target=run, name="download", daemon=True)
    thread.start()
    before, moved = -1, time.monotonic()
    while thread.is_alive():
        thread.join(AGAIN)
        look()
        if count.done != before:
            before, moved = count.done, time.monotonic()
        elif time.monotonic() - moved > PATIENCE and thread.is_alive():
            raise TimeoutError(f"nothing came for {PATIENCE:.0f} s")
        yield count
    if failures:
        raise failures[0]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # it has just got its name
        return 0
