"""Downloads of weights by the loaders of torch and of the Hugging Face Hub, with progress and verification.

Both loaders write to a temporary name and rename the complete file: a partial file is never taken for a complete one.
They run in a thread while the caller receives the progress; a stalled download is abandoned.
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

from ftlab.core import file_io

STALL_TIMEOUT_SECONDS = 60.0
"""Seconds without a byte after which a download is abandoned."""
POLL_INTERVAL_SECONDS = 0.5
"""Seconds between two progress values."""
_STALE_PARTIAL_SECONDS = 3600.0
"""Age in seconds from which on no process can still be writing a partial file."""


@dataclass
class ByteProgress:
    """Progress of a download.

    Attributes:
        downloaded_bytes: so far.
        total_bytes: 0 until it is known.
    """

    downloaded_bytes: int = 0
    total_bytes: int = 0


def download_from_url(url: str, file: Path, sha256: str) -> Iterator[ByteProgress]:
    """Download a URL to a file with torch's loader.

    A failed or stalled download, and a file with another checksum, give OSError or RuntimeError; nothing is left
    behind.

    Args:
        url: of the file.
        file: where it goes.
        sha256: expected, complete or its first digits; empty if the source states none.

    Yields:
        The progress, twice a second; the same object each time.
    """
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    for partial_file in file.parent.glob(f"{file.name}.*.partial"):  # left by a process that was killed
        if time.time() - partial_file.stat().st_mtime > _STALE_PARTIAL_SECONDS:
            partial_file.unlink(missing_ok=True)
    progress = ByteProgress()

    def update_progress() -> None:
        # torch's loader reports no progress to a caller: the partial file's size is the count.
        sizes = [_get_file_size(partial_file) for partial_file in file.parent.glob(f"{file.name}.*.partial")]
        progress.downloaded_bytes = max([progress.downloaded_bytes, *sizes])

    yield from _poll_download(
        lambda: download_url_to_file(url, str(file), sha256 or None, progress=False), progress, update_progress
    )


def download_from_hub(repository: str, filenames: tuple[str, ...], cache_dir: Path) -> Iterator[ByteProgress]:
    """Download a file of a repository into a cache of the Hugging Face Hub with its loader.

    A failed or stalled download, and a file with another checksum, give OSError or RuntimeError.

    Args:
        repository: on the hub, as `owner/name`.
        filenames: the first of these that the repository has is downloaded.
        cache_dir: the hub's cache.

    Yields:
        The progress, twice a second; the same object each time.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

    # The base class that it shares with the errors of the HTTP library below, whether requests or httpx.
    http_errors: Any = HfHubHTTPError.__bases__
    progress = ByteProgress()
    # Read for each download: the library itself reads the variable at import only.
    endpoint = os.environ.get("HF_ENDPOINT")

    class ByteCounter(tqdm):  # type: ignore[misc]  # tqdm has no annotations
        """Progress bar of the hub's loader that shows nothing and counts the bytes."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            progress.downloaded_bytes += int(n or 0)
            return bool(super().update(n))

    def download_file(filename: str) -> None:
        metadata = get_hf_file_metadata(hf_hub_url(repository, filename, endpoint=endpoint))
        progress.total_bytes = metadata.size or 0
        path = hf_hub_download(repository, filename, cache_dir=cache_dir, endpoint=endpoint, tqdm_class=ByteCounter)
        # For a large file the ETag is its SHA-256; the loader itself compares sizes only.
        if metadata.etag and re.fullmatch("[0-9a-f]{64}", metadata.etag):
            _verify_sha256(Path(path), metadata.etag)

    def download_first_found() -> None:
        for filename in filenames:
            try:
                return download_file(filename)
            # Only a missing file leads to the next name; any other error is the download's.
            except RemoteEntryNotFoundError:
                if filename == filenames[-1]:
                    raise
            except http_errors as cause:
                raise OSError(str(cause)) from cause

    yield from _poll_download(download_first_found, progress, lambda: None)


def _verify_sha256(path: Path, sha256: str) -> None:
    """Delete a file of the hub's cache that is not the expected one.

    Args:
        path: a link in the cache to the file.
        sha256: 64 hex digits.

    Raises:
        OSError: it was another one.
    """
    with file_io.open_regular_file(path) as file:
        actual_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if actual_sha256 != sha256:
        path.resolve().unlink()  # the cache links names to blobs
        path.unlink(missing_ok=True)
        raise OSError(f"its SHA-256 is {actual_sha256}, not {sha256}")


def _poll_download(
    download: Callable[[], object], progress: ByteProgress, update_progress: Callable[[], None]
) -> Iterator[ByteProgress]:
    """Run a download in a thread.

    Args:
        download: blocks until the file is complete.
        progress: that is yielded.
        update_progress: called before each value.

    Yields:
        `progress`, twice a second until the download ends; then its error is raised, if any.

    Raises:
        TimeoutError: no byte came for `STALL_TIMEOUT_SECONDS`.
    """
    failures: list[Exception] = []

    def run_download() -> None:
        try:
            download()
        except Exception as failure:
            failures.append(failure)

    # A loader that waits for a silent server cannot be interrupted: as a daemon it cannot keep the process alive.
    thread = threading.Thread(target=run_download, name="download", daemon=True)
    thread.start()
    # -1, so that the first value counts as a change.
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
    except OSError:  # it was renamed in between: the download is complete
        return 0
