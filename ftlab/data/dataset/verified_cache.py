"""Cache of verified images, so that files that have not changed since are not decoded again. No torch.

A folder is scanned by the page, and again by the training that it starts; verifying a large one takes half a minute
(100,000 files: a seventh of the time with this cache). Entries are keyed by the path and `os.stat` of the file. That
does not prove its content, and need not: a file that turns out to be damaged is reported and left out when it is read.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Sequence
from importlib.metadata import version

import ftlab
from ftlab.core import user_dirs
from ftlab.core.kv_cache import DiskCache

_MAX_CACHE_BYTES = 200_000_000
"""Size limit of the cache file in bytes: some million images."""
MIN_FILE_AGE_SECONDS = 3.0
"""Age below which a file is not cached: it might be written again without a new time (FAT has steps of 2 seconds)."""
_SIZE_FORMAT = struct.Struct("<II")
"""A cached value: width and height in pixels as 32-bit integers."""


class VerifiedCache:
    """Sizes of images that were decoded without error, kept in a file."""

    def __init__(self, cache: DiskCache) -> None:
        """Use `cache` as the storage."""
        self._cache = cache
        # Part of every key: another decoder may refuse what this one reads.
        self._versions = f"{ftlab.__version__} {version('pillow')}"

    def compute_keys(self, files: Sequence[str]) -> list[bytes | None]:
        """Return the cache key of each file, by absolute path; None where a file is missing or too new to be cached."""
        return [self._compute_key(file) for file in files]

    def get(self, keys: Sequence[bytes | None]) -> list[tuple[int, int] | None]:
        """Return for each key the width and height in pixels of the upright image, or None if it is not cached."""
        value_by_key = self._cache.get([key for key in keys if key])
        values = [value_by_key.get(key) if key else None for key in keys]
        return [None if value is None else _SIZE_FORMAT.unpack(value) for value in values]

    def put(self, sizes: Sequence[tuple[bytes, tuple[int, int]]]) -> None:
        """Store (key, (width, height)) pairs."""
        self._cache.put([(key, _SIZE_FORMAT.pack(*size)) for key, size in sizes])

    def _compute_key(self, file: str) -> bytes | None:
        """Return the cache key of a file; None if it is missing or too new to be cached."""
        try:
            file_stat = os.stat(file)  # noqa: PTH116 - called for each of 100,000 files; `Path` would cost more
        except OSError:
            return None
        # ctime, which no program can set back, also notices what restores an old mtime: unpacking, `cp -p`.
        modified_time = max(file_stat.st_mtime, file_stat.st_ctime)
        if time.time() - modified_time < MIN_FILE_AGE_SECONDS:
            return None
        identity = (
            self._versions,
            file_stat.st_size,
            file_stat.st_mtime_ns,
            file_stat.st_ctime_ns,
            file_stat.st_ino,
            file,
        )
        return hashlib.blake2b(repr(identity).encode(), digest_size=16).digest()


def open_verified_cache() -> VerifiedCache:
    """Return the cache of this user, in `FTLAB_HOME`."""
    return VerifiedCache(DiskCache(user_dirs.get_ftlab_home() / "checked.sqlite", _MAX_CACHE_BYTES))
