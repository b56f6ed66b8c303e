"""Disk cache of computed features: another head, learning rate or seed need not run the backbone again.

One file serves all trainings. An entry is the feature vector of one view of one image, by a key of everything that its
bits depend on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ftlab.core import kv_cache
from ftlab.core.kv_cache import DiskCache

_PAGE_BYTES = 32_768
"""Holds twelve rows of 1,280 features in half precision; a page of 4,096 bytes would hold one."""
_STORED_DTYPES = {"fp16": np.float16, "fp32": np.float32}


class FeatureCache:
    """A file of features, or of the activations of a frozen part; see `DiskCache`.

    Attributes:
        precision: of the entries that this training reads and writes, see `feature_rows`. Others may lie in the same
            file, under other keys.
        max_batch_images: images to be read or written at a time, at most: rows of activations are long.
    """

    max_batch_images = sys.maxsize

    def __init__(self, file: Path, budget_bytes: int, precision: str = "fp32") -> None:
        """Open a cache.

        Args:
            file: of the cache; created when the first entry is written.
            budget_bytes: size limit of the file.
            precision: of the entries.
        """
        self.cache, self.precision = DiskCache(file, budget_bytes, _PAGE_BYTES), precision

    @property
    def file(self) -> Path:
        """Path of the cache; the file need not exist yet."""
        return self.cache.path

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """Read entries.

        Args:
            keys: of the entries.

        Returns:
            Rows of features, [W], by key, for those that are cached.
        """
        stored_values, dtype = self.cache.get(keys), _STORED_DTYPES[self.precision]
        # A copy: the buffer that SQLite returns is read-only.
        return {key: torch.from_numpy(np.frombuffer(value, dtype).copy()) for key, value in stored_values.items()}

    def put(self, entries: Sequence[tuple[bytes, Tensor]]) -> None:
        """Store entries, and evict the least recently used ones beyond the budget.

        Args:
            entries: keys and rows of features, [W].
        """
        self.cache.put([(key, row.numpy().tobytes()) for key, row in entries])


def open_feature_cache(precision: str = "fp32") -> FeatureCache | None:
    """Return the cache of this user; None if it is disabled.

    Args:
        precision: of the entries, see `feature_rows`.
    """
    budget_bytes = kv_cache.get_feature_budget()
    return FeatureCache(kv_cache.get_feature_file(), budget_bytes, precision) if budget_bytes else None
