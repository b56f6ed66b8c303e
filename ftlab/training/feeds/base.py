"""The batch source protocol that the training loop iterates over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ftlab.core.errors import ImageError


@dataclass(frozen=True)
class RankBatch:
    """A rank's part of one optimizer step, on its device.

    Attributes:
        inputs: images, float32 [b, 3, S, S], normalized; or features, float32 [b, D].
        labels: int64 [b].
        sample_weights: float32 [b]; 0 for an image that only keeps an otherwise idle rank in step, or fills a batch up.
        global_count: number of images of the step over all ranks.
        skipped: indices in the split of images that could not be read, each with its error. An image is listed once,
            and left out from then on.
    """

    inputs: Tensor
    labels: Tensor
    sample_weights: Tensor
    global_count: int
    skipped: list[tuple[int, ImageError]]


def split_by_rank(
    index_batches: Sequence[list[int]], rank: int, world_size: int, min_count: int = 1
) -> list[list[int]]:
    """Return a rank's part of each batch: every `world_size`-th index.

    A rank with fewer than `min_count` indices borrows some of other ranks, so that no rank waits for gradients of one
    that can compute none.

    Args:
        index_batches: indices of each batch over all ranks.
        rank: of this process, from 0.
        world_size: number of ranks.
        min_count: fewest images that the network can train on.

    Returns:
        For each batch at least `min_count` indices, if it has as many; the borrowed ones come last.
    """

    def take_part(indices: list[int]) -> list[int]:
        # Strided, so that the ranks' parts differ by one image at most.
        part = indices[rank::world_size]
        if len(part) >= min_count:
            return part
        return part + [index for index in indices if index not in part][: min_count - len(part)]

    return [take_part(indices) for indices in index_batches]


class BatchSource(Protocol):
    """Source of the batches of training and evaluation.

    Attributes:
        labels: by split, int64 [N].
    """

    labels: dict[str, Tensor]

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""

    @property
    def class_count(self) -> int:
        """Number of classes K."""

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """Iterate over the steps of an epoch, a function of (seed, epoch) alone.

        Args:
            epoch: counted from 1.
            skip_steps: steps to leave out at the beginning, where a resumed training has taken them already.
        """

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """Iterate over the images of a split in order, each once over all ranks."""
