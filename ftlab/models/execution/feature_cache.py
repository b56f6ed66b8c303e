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
from ftlab.core.kv_cache import DiskCache

DEFAULT_BUDGET_MB = 2000
"""Megabytes (10^6 bytes) that the file may have; `FTLAB_FEATURES_MB` says another number, 0 keeps nothing."""


class FeatureCache:
    """A file of features; see `DiskCache`."""

    def __init__(self, file: Path, budget_bytes: int) -> None:
        self.cache = DiskCache(file, budget_bytes)

    @property
    def file(self) -> Path:
        """Where they are; it need not be there yet."""
        return self.cache.path

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """float32 [D] by key, of those that are kept."""
        stored_values = self.cache.get(keys)
        return {key: torch.from_numpy(np.frombuffer(value, np.float32).copy()) for key, value in stored_values.items()}

    def put(self, entries: Sequence[tuple[bytes, Tensor]]) -> None:
        """Keep float32 [D] by key, and let go of what was not used longest."""
        self.cache.put([(key, vector.numpy().tobytes()) for key, vector in entries])


def open_feature_cache() -> FeatureCache | None:
    """The store of this person; None where nothing is to be kept."""
    try:
        budget_mb = int(os.environ.get("FTLAB_FEATURES_MB", DEFAULT_BUDGET_MB))
    except ValueError:
        budget_mb = DEFAULT_BUDGET_MB
    return (
        FeatureCache(user_dirs.get_ftlab_home() / "features.sqlite", budget_mb * 1_000_000) if budget_mb > 0 else None
    )
