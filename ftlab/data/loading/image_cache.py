"""Decoded pictures kept in memory, within a budget: from the second epoch on they need not be decoded again.

What is kept is what a file gave, so a training has the same bits with any budget. A file is read anew where it
is not as it was: a training sees a picture that was changed, and misses one that was removed, as it would without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine

_FREE_MEMORY_FRACTION, _MAX_CPU_CACHE_BYTES = 0.5, 1_000_000_000
"""Share of the free memory that pictures may take; and bytes that they take at most where the processor computes: there
decoding is a small part of a step."""
ENTRY_OVERHEAD_BYTES = 500
"""Bytes that a picture takes beside its pixels, about."""

FileSignature = tuple[int, ...]


class SupportsNbytes(Protocol):
    """An array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""


S = TypeVar("S", bound=SupportsNbytes)


def compute_budget_mb(config: TrainConfig, *, on_gpu: bool) -> int:
    """Megabytes (10^6) for decoded pictures over all processes: as the configuration says, else by what is free now.

    Args:
        on_gpu: whether the network is on a device with a memory of its own.
    """
    if config.caches_features:
        return 0  # its pictures are looked at once
    if config.keep_decoded is not None:
        return config.keep_decoded
    free_bytes = int(_FREE_MEMORY_FRACTION * machine.get_available_memory())
    return (free_bytes if on_gpu else min(free_bytes, _MAX_CPU_CACHE_BYTES)) // 1_000_000


class ImageCache:
    """What was made of pictures, kept by name as long as it fits. Threads may share it.

    What came first stays: an epoch comes by all pictures once, so nothing is gained by exchanging one for another.

    Attributes:
        size_bytes: bytes that are kept; never more than the budget.
    """

    def __init__(self, budget_bytes: int) -> None:
        """`budget_bytes` in bytes; with 0 nothing is kept."""
        self._budget_bytes, self.size_bytes = budget_bytes, 0
        self.entries: dict[Hashable, tuple[FileSignature, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, file: Path, load_image: Callable[[Path], S]) -> S:
        """What `load_image(file)` gives, from memory where the file is as it was; not to be changed.

        Raises:
            PictureError: as `load_image` does.
        """
        if not self._budget_bytes:
            return load_image(file)
        signature, cached_image = self.find_entry(key, file)
        if cached_image is not None:
            return cached_image
        image = load_image(file)
        self.put(key, signature, image)
        return image

    def find_entry(self, key: Hashable, file: Path) -> tuple[FileSignature | None, Any]:
        """What tells whether a file is as it was, to be given to `put` with what is made of it; and what was made
        before, or None."""
        signature = _read_signature(file)  # before the file is read: what changes it from now on is seen the next time
        with self._lock:
            cached_signature, cached_image = self.entries.get(key, (None, None))
        return signature, cached_image if cached_signature == signature else None

    def put(self, key: Hashable, signature: FileSignature | None, image: SupportsNbytes) -> None:
        """Keep what was made of a file, where there is room."""
        with self._lock:
            _, old_image = self.entries.pop(key, (None, None))
            self.size_bytes -= old_image.nbytes + ENTRY_OVERHEAD_BYTES if old_image is not None else 0
            entry_bytes = image.nbytes + ENTRY_OVERHEAD_BYTES
            if signature is not None and self.size_bytes + entry_bytes <= self._budget_bytes:
                self.entries[key] = signature, image
                self.size_bytes += entry_bytes


def _read_signature(file: Path) -> FileSignature | None:
    """What tells that a file is not the same any more; None where it is not there."""
    try:
        stat_result = os.stat(file)
    except OSError:
        return None
    return stat_result.st_size, stat_result.st_mtime_ns, stat_result.st_ctime_ns, stat_result.st_ino
