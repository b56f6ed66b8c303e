"""Where the loop's batches come from: what it is given, whoever gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ftlab.core.errors import ImageError


@dataclass(frozen=True)
class RankBatch:
    """This process's part of one step, on its device.

    Attributes:
        inputs: float32 [b, 3, side, side], or features [b, D].
        labels: int64 [b].
        sample_weights: float32 [b], 0 for a picture that only keeps an otherwise idle process in step.
        global_count: pictures of the step over all processes.
        skipped: positions in the split that could not be read, and why; each is told once, and left out from then on.
    """

    inputs: Tensor
    labels: Tensor
    sample_weights: Tensor
    global_count: int
    skipped: list[tuple[int, ImageError]]


def split_by_rank(index_batches: Sequence[list[int]], rank: int, world_size: int) -> list[list[int]]:
    """Of each piece, what process number `rank` of `world_size` takes: a picture at least, so that none is left waiting."""
    return [indices[rank::world_size] or indices[:1] for indices in index_batches]


class BatchSource(Protocol):
    """Gives the steps of an epoch, and the pictures of a split.

    Attributes:
        labels: int64 [N] by split.
    """

    labels: dict[str, Tensor]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""

    @property
    def class_count(self) -> int:
        """K, the classes of the labels."""

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """The steps of an epoch from number `skip_steps` on."""

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """The pictures of a split in order, each once over all processes."""
