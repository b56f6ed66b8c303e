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

STALL_TIMEOUT_SECONDS = 60.0
"""Seconds without a byte after which a download is given up."""
POLL_INTERVAL_SECONDS = 0.5
"""Seconds between two looks at it."""
_STALE_PARTIAL_SECONDS = 3600.0
"""Age in seconds from which on nobody can still be writing to half a file."""


@dataclass
class ByteProgress:
    """How far a download is, in bytes; `total_bytes` is 0 until it is known."""

    downloaded_bytes: int = 0
    total_bytes: int = 0


def download_from_url(url: str, file: Path, sha256: str) -> Iterator[ByteProgress]:
    """Download an address to a file, by torch's loader.

    Args:
        sha256: of what must come, whole or its first digits; empty where the source states none.

    Raises:
        OSError, RuntimeError: it cannot be had, is another file, or does not move; nothing is left behind.
    """
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    for partial_file in file.parent.glob(f"{file.name}.*.partial"):  # of a process that was killed
        if time.time() - partial_file.stat().st_mtime > _STALE_PARTIAL_SECONDS:
            partial_file.unlink(missing_ok=True)
    progress = ByteProgress()

    def update_progress() -> None:
        sizes = [_get_file_size(partial_file) for partial_file in file.parent.glob(f"{file.name}.*.partial")]
        progress.downloaded_bytes = max([progress.downloaded_bytes, *sizes])

    yield from _poll_download(
        lambda: download_url_to_file(url, str(file), sha256 or None, progress=False), progress, update_progress
    )


def download_from_hub(repository: str, filenames: tuple[str, ...], cache_dir: Path) -> Iterator[ByteProgress]:
    """Download the first of these files that a repository has into a cache of the Hugging Face Hub, by its loader.

    Raises:
        OSError, RuntimeError: it cannot be had, is another file, or does not move.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

    # What it has in common with the errors of the HTTP library under it, whichever that is.
    http_errors: Any = HfHubHTTPError.__bases__
    progress = ByteProgress()
    endpoint = os.environ.get("HF_ENDPOINT")

    class ByteCounter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            progress.downloaded_bytes += int(n or 0)
            return super().update(n)

    def download_file(filename: str) -> None:
        metadata = get_hf_file_metadata(hf_hub_url(repository, filename, endpoint=endpoint))
        progress.total_bytes = metadata.size or 0
        path = hf_hub_download(repository, filename, cache_dir=cache_dir, endpoint=endpoint, tqdm_class=ByteCounter)
        # Of a large file the tag is its SHA-256; the loader itself compares sizes only.
        if metadata.etag and re.fullmatch("[0-9a-f]{64}", metadata.etag):
            _verify_sha256(Path(path), metadata.etag)

    def download_first_found() -> None:
        for filename in filenames:
            try:
                return download_file(filename)
            except RemoteEntryNotFoundError:
                if filename == filenames[-1]:
                    raise
            except http_errors as cause:
                raise OSError(str(cause)) from cause

    yield from _poll_download(download_first_found, progress, lambda: None)


def _verify_sha256(path: Path, sha256: str) -> None:
    with open(path, "rb") as file:
        actual_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if actual_sha256 != sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise OSError(f"its SHA-256 is {actual_sha256}, not {sha256}")


def _poll_download(
    download: Callable[[], object], progress: ByteProgress, update_progress: Callable[[], None]
) -> Iterator[ByteProgress]:
    """Run `download` in a thread; the count twice a second until it is done."""
    failures: list[Exception] = []

    def run_download() -> None:
        try:
            download()
        except Exception as failure:
            failures.append(failure)

    # A loader that waits for a silent server cannot be called back: it must not keep the process from its end.
    thread = threading.Thread(target=run_download, name="download", daemon=True)
    thread.start()
    previous_bytes, last_change_time = -1, time.monotonic()
    while thread.is_alive():
        thread.join(POLL_INTERVAL_SECONDS)
        update_progress()
        if progress.downloaded_bytes != previous_bytes:
            previous_bytes, last_change_time = progress.downloaded_bytes, time.monotonic()
        elif time.monotonic() - last_change_time > STALL_TIMEOUT_SECONDS and thread.is_alive():
            raise TimeoutError(f"nothing came for {STALL_TIMEOUT_SECONDS:.0f} s")
        yield progress
    if failures:
        raise failures[0]


def _get_file_size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # it has just got its name
        return 0
