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

_SHARE, _MOST = 0.5, 1_000_000_000
"""Share of the free memory that pictures may take; and bytes that they take at most where the processor computes: there
decoding is a small part of a step."""
_ASIDE = 500
"""Bytes that a picture takes beside its pixels, about."""

Facts = tuple[int, ...]


class Sized(Protocol):
    """An array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""


S = TypeVar("S", bound=Sized)


def budget(config: TrainConfig, *, on_card: bool) -> int:
    """Megabytes (10^6) for decoded pictures over all processes: as the configuration says, else by what is free now.

    Args:
        on_card: whether the network is on a device with a memory of its own.
    """
    if config.caches_features:
        return 0  # its pictures are looked at once
    if config.keep_decoded is not None:
        return config.keep_decoded
    free = int(_SHARE * machine.free_memory())
    return (free if on_card else min(free, _MOST)) // 1_000_000


class Decoded:
    """What was made of pictures, kept by name as long as it fits. Threads may share it.

    What came first stays: an epoch comes by all pictures once, so nothing is gained by exchanging one for another.

    Attributes:
        size: bytes that are kept; never more than the budget.
    """

    def __init__(self, budget: int) -> None:
        """`budget` in bytes; with 0 nothing is kept."""
        self._budget, self.size = budget, 0
        self._kept: dict[Hashable, tuple[Facts, Any]] = {}
        self._lock = threading.Lock()

    def get(self, name: Hashable, file: Path, make: Callable[[Path], S]) -> S:
        """What `make(file)` gives, from memory where the file is as it was; not to be changed.

        Raises:
            PictureError: as `make` does.
        """
        if not self._budget:
            return make(file)
        facts, kept = self.find(name, file)
        if kept is not None:
            return kept
        made = make(file)
        self.put(name, facts, made)
        return made

    def find(self, name: Hashable, file: Path) -> tuple[Facts | None, Any]:
        """What tells whether a file is as it was, to be given to `put` with what is made of it; and what was made
        before, or None."""
        facts = _facts(file)  # before the file is read: what changes it from now on is seen the next time
        with self._lock:
            before, kept = self._kept.get(name, (None, None))
        return facts, kept if before == facts else None

    def put(self, name: Hashable, facts: Facts | None, made: Sized) -> None:
        """Keep what was made of a file, where there is room."""
        with self._lock:
            _, old = self._kept.pop(name, (None, None))
            self.size -= old.nbytes + _ASIDE if old is not None else 0
            room = made.nbytes + _ASIDE
            if facts is not None and self.size + room <= self._budget:
                self._kept[name] = facts, made
                self.size += room


def _facts(file: Path) -> Facts | None:
    """What tells that a file is not the same any more; None where it is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
