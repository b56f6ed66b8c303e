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

from ftlab.core.errors import ImageError
from ftlab.data.loading import thread_pool

PREFETCH_BATCHES = 3
"""Batches being prepared while one is used."""


@dataclass(frozen=True)
class ImageBatch:
    """Pictures of one step.

    Attributes:
        indices: positions in the split, of the pictures that could be read.
        pixels: uint8 [B, 3, side, side]; B may be less than planned, or 0.
        skipped: positions that could not be read, and why.
    """

    indices: list[int]
    pixels: Tensor
    skipped: list[tuple[int, ImageError]]


def shuffle_indices(seed: int, epoch: int, image_count: int) -> list[int]:
    """The order of an epoch: a permutation of `range(count)` that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(image_count, generator=generator).tolist()


def sample_view_indices(seed: int, epoch: int, view_count: int, image_count: int) -> Tensor:
    """Which of its cached views stands for each of `image_count` pictures in an epoch: int64 [count]."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 97 % 2**63)
    return torch.randint(view_count, (image_count,), generator=generator)


def batch_indices(indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Consecutive pieces of at most `batch_size`. A last piece of one picture joins its neighbour: BatchNorm has no
    variance to learn from a single one."""
    index_batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    if len(index_batches) > 1 and len(index_batches[-1]) == 1:
        last_batch = index_batches.pop()
        index_batches[-1] += last_batch
    return index_batches


def load_batches(
    index_batches: Sequence[Sequence[int]],
    read_image: Callable[[int], Tensor],
    num_workers: int,
    *,
    pin_memory: bool = False,
) -> Iterator[ImageBatch]:
    """Each piece as a batch, in order; `read_image(index)` gives one picture, uint8 [3, side, side].

    With `pin_memory` they lie in memory that a CUDA device copies from by itself. A picture that `read_image` refuses with a
    `ImageError` is left out and named in `skipped`.
    """
    with thread_pool.open_worker_pool(num_workers, "decode") as pool:
        pending_batches: deque[list[tuple[int, Future[Tensor]]]] = deque()
        for indices in index_batches:
            pending_batches.append([(index, pool.submit(read_image, index)) for index in indices])
            if len(pending_batches) > PREFETCH_BATCHES:
                yield _collate_batch(pending_batches.popleft(), pin_memory)
        while pending_batches:
            yield _collate_batch(pending_batches.popleft(), pin_memory)


def _collate_batch(futures: list[tuple[int, Future[Tensor]]], pin_memory: bool) -> ImageBatch:
    indices, images, skipped = [], [], []
    for index, future in futures:
        try:
            images.append(future.result())
            indices.append(index)
        except ImageError as error:
            skipped.append((index, error))
    if not images:
        return ImageBatch(indices, torch.empty(0, 3, 0, 0, dtype=torch.uint8), skipped)
    pixels = torch.empty(len(images), *images[0].shape, dtype=images[0].dtype, pin_memory=pin_memory)
    return ImageBatch(indices, torch.stack(images, out=pixels), skipped)
