"""Batches of cached features: the frozen backbone has computed them once, for several views of each image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from ftlab.data.gpu import to_device
from ftlab.data.loading.loader import batch_indices, sample_view_indices
from ftlab.data.loading.sampler import sample_epoch_indices
from ftlab.models.execution.feature_rows import unpack_rows
from ftlab.models.execution.features import Features
from ftlab.training.feeds import base
from ftlab.training.feeds.base import RankBatch
from ftlab.training.feeds.image_base import ImageFeedBase

IMAGES_PER_GATHER = 1024
"""Features gathered at a time, for several steps: a gather for each small step would cost a kernel launch each."""
_EVAL_BATCH_SIZE = 1024
"""Features evaluated at once over all ranks."""
_MAX_VALUES = 1 << 23
"""Values gathered, or evaluated, at a time: rows of activations are long."""


class FeatureFeed:
    """Batch source of features, or activations, computed once; the view of an image is drawn anew in each epoch.

    Attributes:
        vectors: by split, [V, N, W] of V views, see `Features`.
        labels: by split, int64 [N], of the images that could be read.
    """

    def __init__(
        self,
        image_feed: ImageFeedBase,
        features_by_split: dict[str, Features],
        storage_device: torch.device | None = None,
    ) -> None:
        """Move the features to where they are gathered from.

        Args:
            image_feed: gives configuration, ranks, labels and the device of the batches.
            features_by_split: features of `train` and `val`.
            storage_device: where the features stay, by default the device of the batches.
        """
        self.config, self.rank, self.world_size = image_feed.config, image_feed.rank, image_feed.world_size
        self.class_count = image_feed.class_count
        self.device = image_feed.device
        storage_device = storage_device or self.device
        self.vectors = {
            split: split_features.vectors.to(storage_device) for split, split_features in features_by_split.items()
        }
        self.labels = {
            split: image_feed.labels[split][split_features.indices].to(storage_device)
            for split, split_features in features_by_split.items()
        }

    @cached_property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""
        return len(batch_indices(range(len(self.labels["train"])), self.config.effective_batch_size))

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """Iterate over the steps of an epoch, see `BatchSource`.

        Args:
            epoch: counted from 1.
            skip_steps: steps to leave out at the beginning.

        Yields:
            This rank's part of each step.
        """
        view_count, image_count, _ = self.vectors["train"].shape
        first_views = sample_view_indices(self.config.seed, epoch, view_count, image_count)
        epoch_order = sample_epoch_indices(self.config, self.labels["train"].tolist(), epoch)
        yield from self._iter_rank_batches(
            "train", torch.tensor(epoch_order), first_views, self.config.effective_batch_size, skip_steps
        )

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """Yield the features of a split in order, see `BatchSource`."""
        image_count = len(self.labels[split])
        batch_size = min(_EVAL_BATCH_SIZE, self._count_rows_at_once(split))
        yield from self._iter_rank_batches(
            split, torch.arange(image_count), torch.zeros(image_count, dtype=torch.int64), batch_size
        )

    def _count_rows_at_once(self, split: str) -> int:
        """Return how many rows of a split have about `_MAX_VALUES`."""
        return max(1, _MAX_VALUES // max(1, self.vectors[split].shape[2]))

    def _iter_rank_batches(
        self, split: str, sample_order: Tensor, first_views: Tensor, batch_size: int, skip_steps: int = 0
    ) -> Iterator[RankBatch]:
        """Yield this rank's part of each step.

        All indices are computed and moved to the device at once: nothing waits for the device later.

        Args:
            split: of the images.
            sample_order: int64 [M], indices of the epoch; a repeated image has its index plus a multiple of N.
            first_views: int64 [N], view of each image; its repetitions take the views that follow.
            batch_size: images of a step over all ranks.
            skip_steps: steps to leave out at the beginning.
        """
        vectors, labels = self.vectors[split], self.labels[split]
        index_batches = batch_indices(range(len(sample_order)), batch_size)
        rank_batches = base.split_by_rank(index_batches, self.rank, self.world_size)
        positions = torch.tensor([position for rank_part in rank_batches for position in rank_part], dtype=torch.int64)
        row_weights = [
            float(self.rank < len(indices))
            for indices, rank_part in zip(index_batches, rank_batches, strict=True)
            for _ in rank_part
        ]
        sample_weights = torch.tensor(row_weights, device=vectors.device)
        rows = sample_order[positions] % len(labels)
        row_views = (first_views[rows] + sample_order[positions] // len(labels)) % len(vectors)
        rows, row_views = rows.to(vectors.device), row_views.to(vectors.device)
        rows_per_gather = min(IMAGES_PER_GATHER, self._count_rows_at_once(split))
        steps_per_gather, row_offset = max(1, rows_per_gather // batch_size), 0
        # Blocks are counted from the epoch's first step, wherever it is entered: the last bits of a matrix product
        # depend on the alignment of its factors in memory, and so on a step's place in its block.
        for first_step in range(0, len(rank_batches), steps_per_gather):
            step_slice = slice(first_step, first_step + steps_per_gather)
            batch_sizes = [len(rank_part) for rank_part in rank_batches[step_slice]]
            row_slice = slice(row_offset, row_offset + sum(batch_sizes))
            row_offset = row_slice.stop
            if step_slice.stop <= skip_steps:
                continue
            gathered_rows = rows[row_slice]
            # The same values; indexing with one index tensor is three times as fast as with two.
            gathered = unpack_rows(
                vectors[0].index_select(0, gathered_rows)
                if len(vectors) == 1
                else vectors[row_views[row_slice], gathered_rows]
            )
            batch_parts = zip(
                *(
                    to_device.to_device_async(tensor, self.device).split(batch_sizes)
                    for tensor in (gathered, labels[gathered_rows], sample_weights[row_slice])
                ),
                index_batches[step_slice],
                strict=True,
            )
            for inputs, batch_labels, rank_part, indices in islice(batch_parts, max(0, skip_steps - first_step), None):
                yield RankBatch(inputs, batch_labels, rank_part, len(indices), [])
