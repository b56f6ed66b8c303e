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
from ftlab.core.kv_cache import Cache

_BUDGET = 200_000_000
"""Bytes that the file may have: some million pictures."""
_RECENT = 3.0
"""Seconds since a file was written in which it may be written again, and its time stay the same: on a FAT disk two."""
_SIZE = struct.Struct("<II")


class Known:
    """Sizes of pictures that can be decoded, kept in a file."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._programs = f"{ftlab.__version__} {version('pillow')}"

    def keys(self, files: Sequence[str]) -> list[bytes | None]:
        """By what each file is known, by its whole path; None for one that is too new to be, or not there."""
        return [self._key(file) for file in files]

    def get(self, keys: Sequence[bytes | None]) -> list[tuple[int, int] | None]:
        """For each key: width and height of the upright picture, or None."""
        found = self._cache.get([key for key in keys if key])
        values = [found.get(key) if key else None for key in keys]
        return [None if value is None else _SIZE.unpack(value) for value in values]

    def put(self, sizes: Sequence[tuple[bytes, tuple[int, int]]]) -> None:
        """Keep width and height by key."""
        self._cache.put([(key, _SIZE.pack(*size)) for key, size in sizes])

    def _key(self, file: str) -> bytes | None:
        try:
            facts = os.stat(file)
        except OSError:
            return None
        changed = max(facts.st_mtime, facts.st_ctime)
        if time.time() - changed < _RECENT:
            return None
        told = (self._programs, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, file)
        return hashlib.blake2b(repr(told).encode(), digest_size=16).digest()


def of_home() -> Known:
    """What this person's files are known by."""
    return Known(Cache(user_dirs.home() / "checked.sqlite", _BUDGET))
