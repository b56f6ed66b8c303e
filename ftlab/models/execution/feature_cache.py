"""Disk cache of computed features: another head, learning rate or seed need not run the backbone again.

One file serves all trainings. An entry is the feature vector of one view of one image, by a key of everything that its
bits depend on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ftlab.core import user_dirs
from ftlab.core.kv_cache import DiskCache

DEFAULT_BUDGET_MB = 2000
"""Size limit of the file, 10^6 bytes; the environment variable `FTLAB_FEATURES_MB` overrides it, 0 disables the
cache."""


class FeatureCache:
    """A file of features; see `DiskCache`."""

    def __init__(self, file: Path, budget_bytes: int) -> None:
        """Open a cache.

        Args:
            file: of the cache; created when the first entry is written.
            budget_bytes: size limit of the file.
        """
        self.cache = DiskCache(file, budget_bytes)

    @property
    def file(self) -> Path:
        """Path of the cache; the file need not exist yet."""
        return self.cache.path

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """Read entries.

        Args:
            keys: of the entries.

        Returns:
            Feature vectors, float32 [D], by key, for those that are cached.
        """
        stored_values = self.cache.get(keys)
        # A copy: the buffer that SQLite returns is read-only.
        return {key: torch.from_numpy(np.frombuffer(value, np.float32).copy()) for key, value in stored_values.items()}

    def put(self, entries: Sequence[tuple[bytes, Tensor]]) -> None:
        """Store entries, and evict the least recently used ones beyond the budget.

        Args:
            entries: keys and feature vectors, float32 [D].
        """
        self.cache.put([(key, vector.numpy().tobytes()) for key, vector in entries])


def open_feature_cache() -> FeatureCache | None:
    """Return the cache of this user; None if it is disabled."""
    try:
        budget_mb = int(os.environ.get("FTLAB_FEATURES_MB", DEFAULT_BUDGET_MB))
    except ValueError:
        budget_mb = DEFAULT_BUDGET_MB
    return (
        FeatureCache(user_dirs.get_ftlab_home() / "features.sqlite", budget_mb * 1_000_000) if budget_mb > 0 else None
    )
