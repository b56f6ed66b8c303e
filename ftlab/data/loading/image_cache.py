"""In-memory cache of decoded images within a budget: from the second epoch on they need not be decoded again.

The cache holds what was decoded from a file, so a run has the same bits with any budget. A file whose size, time stamps
or inode changed is read anew: a run sees a changed image, and misses a removed one, as it would without the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.data.images import tar_members

_FREE_MEMORY_FRACTION, _MAX_CPU_CACHE_BYTES = 0.5, 1_000_000_000
"""Fraction of the free memory that images may take, and the limit in bytes if the network runs on the CPU: there
decoding is a small part of a step.
"""
ENTRY_OVERHEAD_BYTES = 500
"""Approximate bytes of an entry apart from its pixels."""

FileSignature = tuple[int, ...]
"""Size, modification time, change time and inode of a file."""


class SupportsNbytes(Protocol):
    """An array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""


S = TypeVar("S", bound=SupportsNbytes)


def compute_budget_mb(config: TrainConfig, *, on_gpu: bool) -> int:
    """Return the cache budget over all ranks in megabytes (10^6 bytes): as configured, else from the free memory.

    Args:
        config: configuration with the cache settings.
        on_gpu: whether the network runs on a device with a memory of its own.
    """
    if not config.trains_on_images:
        return 0  # each image is read once
    if config.image_cache_mb is not None:
        return config.image_cache_mb
    free_bytes = int(_FREE_MEMORY_FRACTION * machine.get_available_memory())
    # With a GPU decoding is the bottleneck, and main memory is otherwise idle.
    return (free_bytes if on_gpu else min(free_bytes, _MAX_CPU_CACHE_BYTES)) // 1_000_000


class ImageCache:
    """Thread-safe cache of decoded images by key.

    Once it is full, it keeps its entries: an epoch visits every image once, so replacing one by another gains nothing.

    Attributes:
        size_bytes: current size; never more than the budget.
        entries: signature of the file and image, by key.
    """

    def __init__(self, budget_bytes: int) -> None:
        """Create an empty cache of at most `budget_bytes`; with 0 it stores nothing."""
        self._budget_bytes, self.size_bytes = budget_bytes, 0
        self.entries: dict[Hashable, tuple[FileSignature, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, file: Path, load_image: Callable[[Path], S]) -> S:
        """Return `load_image(file)`, from memory if the file has not changed; errors of `load_image` pass through.

        Args:
            key: key of the image.
            file: file that it is decoded from.
            load_image: function that decodes the file.

        Returns:
            The image; must not be modified.
        """
        if not self._budget_bytes:
            return load_image(file)
        signature, cached_image = self.find_entry(key, file)
        if cached_image is not None:
            return cast(S, cached_image)
        image = load_image(file)
        self.put(key, signature, image)
        return image

    def find_entry(self, key: Hashable, file: Path) -> tuple[FileSignature | None, Any]:
        """Look up an image that was stored for a file.

        Args:
            key: key of the image.
            file: file that it is decoded from.

        Returns:
            The file's signature, to be passed to `put` with what is decoded from it, and the stored image or None.
        """
        signature = _read_signature(file)  # before the file is read: a change from now on is noticed the next time
        with self._lock:
            cached_signature, cached_image = self.entries.get(key, (None, None))
        return signature, cached_image if cached_signature == signature else None

    def put(self, key: Hashable, signature: FileSignature | None, image: SupportsNbytes) -> None:
        """Store an image if it fits into the budget.

        Args:
            key: key of the image.
            signature: what `find_entry` returned before the file was read; None stores nothing.
            image: image that was decoded from the file.
        """
        with self._lock:
            # Several threads may decode the same image at once: each replaces the entry, so that its size counts once.
            _, old_image = self.entries.pop(key, (None, None))
            self.size_bytes -= old_image.nbytes + ENTRY_OVERHEAD_BYTES if old_image is not None else 0
            entry_bytes = image.nbytes + ENTRY_OVERHEAD_BYTES
            if signature is not None and self.size_bytes + entry_bytes <= self._budget_bytes:
                self.entries[key] = signature, image
                self.size_bytes += entry_bytes


def _read_signature(file: Path) -> FileSignature | None:
    """Return what changes whenever the file does; None if it does not exist."""
    try:
        return tar_members.read_image_state(file).signature
    except OSError:
        return None
