"""Where the loop's batches come from: what it is given, whoever gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ftlab.core.errors import PictureError


@dataclass(frozen=True)
class Share:
    """This process's part of one step, on its device.

    Attributes:
        inputs: float32 [b, 3, side, side], or features [b, D].
        labels: int64 [b].
        weight: float32 [b], 0 for a picture that only keeps an otherwise idle process in step.
        count: pictures of the step over all processes.
        skipped: positions in the split that could not be read, and why; each is told once, and left out from then on.
    """

    inputs: Tensor
    labels: Tensor
    weight: Tensor
    count: int
    skipped: list[tuple[int, PictureError]]


def parts(pieces: Sequence[list[int]], rank: int, world: int) -> list[list[int]]:
    """Of each piece, what process number `rank` of `world` takes: a picture at least, so that none is left waiting."""
    return [piece[rank::world] or piece[:1] for piece in pieces]


class Feed(Protocol):
    """Gives the steps of an epoch, and the pictures of a split.

    Attributes:
        labels: int64 [N] by split.
    """

    labels: dict[str, Tensor]

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""

    @property
    def classes(self) -> int:
        """K, the classes of the labels."""

    def train(self, epoch: int, skip: int = 0) -> Iterator[Share]:
        """The steps of an epoch from number `skip` on."""

    def evaluate(self, split: str) -> Iterator[Share]:
        """The pictures of a split in order, each once over all processes."""
