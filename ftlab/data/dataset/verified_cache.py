"""Pictures that were tried before, and have not been touched since: they are not tried again. No torch.

A folder is looked through by the page, and again by the training that it starts; a large one takes half a minute. What
is known of a file is kept by its path and what the system says of it. That is no proof of what is in it, and need not
be: a file that turns out to be damaged is told and left out when it is read.
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
"""Bytes that the file may have: some million pictures."""
MIN_FILE_AGE_SECONDS = 3.0
"""Seconds since a file was written in which it may be written again, and its time stay the same: on a FAT disk two."""
_SIZE_FORMAT = struct.Struct("<II")


class VerifiedCache:
    """Sizes of pictures that can be decoded, kept in a file."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache
        self._versions = f"{ftlab.__version__} {version('pillow')}"

    def compute_keys(self, files: Sequence[str]) -> list[bytes | None]:
        """By what each file is known, by its whole path; None for one that is too new to be, or not there."""
        return [self._compute_key(file) for file in files]

    def get(self, keys: Sequence[bytes | None]) -> list[tuple[int, int] | None]:
        """For each key: width and height of the upright picture, or None."""
        value_by_key = self._cache.get([key for key in keys if key])
        values = [value_by_key.get(key) if key else None for key in keys]
        return [None if value is None else _SIZE_FORMAT.unpack(value) for value in values]

    def put(self, sizes: Sequence[tuple[bytes, tuple[int, int]]]) -> None:
        """Keep width and height by key."""
        self._cache.put([(key, _SIZE_FORMAT.pack(*size)) for key, size in sizes])

    def _compute_key(self, file: str) -> bytes | None:
        try:
            file_stat = os.stat(file)
        except OSError:
            return None
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
    """What this person's files are known by."""
    return VerifiedCache(DiskCache(user_dirs.get_ftlab_home() / "checked.sqlite", _MAX_CACHE_BYTES))
