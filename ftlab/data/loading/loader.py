"""Pictures in batches: threads decode ahead while the network computes.

Threads, not processes: Pillow and torch's resize release the interpreter's lock, a process costs seconds to start,
and nothing has to be pickled (so Windows and macOS behave as Linux does). What comes out does not depend on the
number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.core.errors import PictureError
from ftlab.data.loading import thread_pool

_AHEAD = 3
"""Batches being prepared while one is used."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one step.

    Attributes:
        indices: positions in the split, of the pictures that could be read.
        pixels: uint8 [B, 3, side, side]; B may be less than planned, or 0.
        skipped: positions that could not be read, and why.
    """

    indices: list[int]
    pixels: Tensor
    skipped: list[tuple[int, PictureError]]


def order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch: a permutation of `range(count)` that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def views_of(seed: int, epoch: int, views: int, count: int) -> Tensor:
    """Which of its cached views stands for each of `count` pictures in an epoch: int64 [count]."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 97 % 2**63)
    return torch.randint(views, (count,), generator=generator)


def plan(indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Consecutive pieces of at most `batch_size`. A last piece of one picture joins its neighbour: BatchNorm has no
    variance to learn from a single one."""
    pieces = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        alone = pieces.pop()
        pieces[-1] += alone
    return pieces


def batches(
    pieces: Sequence[Sequence[int]], read: Callable[[int], Tensor], workers: int, *, pinned: bool = False
) -> Iterator[Batch]:
    """Each piece as a batch, in order; `read(index)` gives one picture, uint8 [3, side, side].

    With `pinned` they lie in memory that a CUDA device copies from by itself. A picture that `read` refuses with a
    `PictureError` is left out and named in `skipped`.
    """
    with thread_pool.of_one(workers, "decode") as pool:
        waiting: deque[list[tuple[int, Future[Tensor]]]] = deque()
        for piece in pieces:
            waiting.append([(index, pool.submit(read, index)) for index in piece])
            if len(waiting) > _AHEAD:
                yield _gather(waiting.popleft(), pinned)
        while waiting:
            yield _gather(waiting.popleft(), pinned)


def _gather(futures: list[tuple[int, Future[Tensor]]], pinned: bool) -> Batch:
    indices, pictures, skipped = [], [], []
    for index, future in futures:
        try:
            pictures.append(future.result())
            indices.append(index)
        except PictureError as refusal:
            skipped.append((index, refusal))
    if not pictures:
        return Batch(indices, torch.empty(0, 3, 0, 0, dtype=torch.uint8), skipped)
    pixels = torch.empty(len(pictures), *pictures[0].shape, dtype=pictures[0].dtype, pin_memory=pinned)
    return Batch(indices, torch.stack(pictures, out=pixels), skipped)
