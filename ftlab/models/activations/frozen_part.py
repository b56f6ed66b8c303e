"""The part of a network that stays frozen, with the place where its results are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ftlab.core.errors import RunError
from ftlab.models.activations import mapped_rows
from ftlab.models.activations.split_backbone import BackboneSplit
from ftlab.models.execution import engines, feature_cache, feature_rows
from ftlab.models.execution.feature_cache import FeatureCache
from ftlab.models.execution.features import AllocateRows, allocate_in_memory
from ftlab.models.network import Network

_CACHE_BATCH_VALUES = 1 << 23
"""Values of a view of each image that is looked up, or stored, at a time."""


@dataclass(frozen=True)
class FrozenPart:
    """A module that each view of an image passes through once, and the place where its results are kept.

    Attributes:
        module: images, float32 [B, 3, S, S] -> what is kept of them, float32 [B, D].
        compute_hash: SHA-256, in hex, of its weights, and of what else it computes.
        row_length: W, values of a row, see `feature_rows`.
        cache: where rows are kept for later runs; None to keep nothing.
        allocate_rows: makes the table of a split.
        note: code of the message that tells how long it took; with `_kept` of the one about the cache.
    """

    module: nn.Module
    compute_hash: Callable[[], str]
    row_length: int
    cache: FeatureCache | None
    allocate_rows: AllocateRows = allocate_in_memory
    note: str = "features"


def create_frozen_part(
    net: Network, feature_count: int, split: BackboneSplit | None, precision: str, *, use_cache: bool
) -> FrozenPart:
    """Return the frozen part of a network.

    Args:
        net: the network.
        feature_count: D, length of the backbone's feature vector.
        split: boundary below which it is frozen; its activations are mapped into memory. None if the whole backbone is
            frozen: its features are kept.
        precision: in which results are kept, see `feature_rows`.
        use_cache: keep results for later runs, and load those that are kept.
    """
    cache = feature_cache.open_feature_cache(precision) if use_cache else None
    if split is None:
        row_length = feature_rows.count_row_values(feature_count, precision)
        return FrozenPart(net.backbone, partial(engines.hash_parameters, net.backbone), row_length, cache)
    if cache:
        cache.max_batch_images = max(1, _CACHE_BATCH_VALUES // split.row_length)
    return FrozenPart(
        split.bind_lower(net.backbone),
        partial(split.hash_lower, engines.hash_parameters, net.backbone),
        feature_rows.count_row_values(split.row_length, precision),
        cache,
        _allocate_rows,
        "activations",
    )


def _allocate_rows(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Return an empty table that is mapped into memory, see `AllocateRows`.

    Raises:
        RunError: its file cannot be written; with the folder and the system's reason.
    """
    try:
        return mapped_rows.allocate_mapped(shape, dtype)
    except OSError as cause:
        raise RunError("run.write", folder=mapped_rows.find_free_space()[0], cause=cause.strerror or cause) from cause
