"""Joining of the features that each rank has computed for its part of the images."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import gather_object

from ftlab.core.errors import ImageError
from ftlab.models.execution.features import Features
from ftlab.training.devices import distributed

_EXCHANGE_BATCH_IMAGES = 2048
"""Images whose features the ranks exchange at a time: it bounds the GPU memory that this takes."""


def join_rank_features(local_features: Features, image_count: int, accelerator: Accelerator) -> Features:
    """Join the features of all ranks, bit-identical to those of a single process but for the sign of zero.

    Args:
        local_features: features of this rank's images.
        image_count: N, images of the split.
        accelerator: device and ranks.

    Returns:
        Features of all images that could be read on any rank, on the CPU.
    """
    if accelerator.num_processes == 1:
        return local_features
    local_summary = (
        local_features.vectors.shape[2],
        local_features.indices,
        [(index, error.code, dict(error.values)) for index, error in local_features.skipped],
    )
    rank_summaries = gather_object([local_summary])
    feature_dim = max(rank_value for rank_value, _, _ in rank_summaries)
    indices = sorted(index for _, rank_value, _ in rank_summaries for index in rank_value)
    skipped_images = sorted(
        (entry for _, _, rank_value in rank_summaries for entry in rank_value), key=lambda entry: entry[0]
    )
    vectors = local_features.vectors.new_zeros(len(local_features.vectors), image_count, feature_dim)
    if local_features.indices:
        vectors[:, local_features.indices] = local_features.vectors
    # Each row belongs to one rank and is 0 on all others, so that the sum is exact, also of half precision.
    for start in range(0, image_count, _EXCHANGE_BATCH_IMAGES):
        rows = vectors[:, start : start + _EXCHANGE_BATCH_IMAGES].float().contiguous().to(accelerator.device)
        vectors[:, start : start + _EXCHANGE_BATCH_IMAGES] = distributed.all_reduce_sum(accelerator, rows).cpu()
    failures = [(index, ImageError(code, **values)) for index, code, values in skipped_images]
    return Features(vectors if len(indices) == image_count else vectors[:, indices], indices, failures)
