"""Features that were computed before, kept on the disk: another head, rate or seed need not look at the pictures again.

One file for all trainings. A row is one look at one picture, by a key that says all that its bits depend on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ftlab.core import user_dirs
from ftlab.core.kv_cache import Cache

BUDGET = 2000
"""Megabytes (10^6 bytes) that the file may have; `FTLAB_FEATURES_MB` says another number, 0 keeps nothing."""


class Store:
    """A file of features; see `Cache`."""

    def __init__(self, file: Path, budget: int) -> None:
        self.cache = Cache(file, budget)

    @property
    def file(self) -> Path:
        """Where they are; it need not be there yet."""
        return self.cache.file

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """float32 [D] by key, of those that are kept."""
        found = self.cache.get(keys)
        return {key: torch.from_numpy(np.frombuffer(value, np.float32).copy()) for key, value in found.items()}

    def put(self, rows: Sequence[tuple[bytes, Tensor]]) -> None:
        """Keep float32 [D] by key, and let go of what was not used longest."""
        self.cache.put([(key, vector.numpy().tobytes()) for key, vector in rows])


def of_home() -> Store | None:
    """The store of this person; None where nothing is to be kept."""
    try:
        budget = int(os.environ.get("FTLAB_FEATURES_MB", BUDGET))
    except ValueError:
        budget = BUDGET
    return Store(user_dirs.home() / "features.sqlite", budget * 1_000_000) if budget > 0 else None
