"""Data loader: threads decode batches ahead while the network computes.

Threads, not processes: Pillow and torch's resize release the interpreter lock, a process costs seconds to start, and
nothing has to be pickled (so Windows and macOS behave as Linux does). The batches do not depend on the number of
threads.
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
"""Batches that are prepared while one is used."""


@dataclass(frozen=True)
class ImageBatch:
    """Images of one step.

    Attributes:
        indices: positions in the split of the images that could be read.
        pixels: uint8 [B, 3, S, S]; B may be less than requested, or 0.
        skipped: positions that could not be read, with the error of each.
    """

    indices: list[int]
    pixels: Tensor
    skipped: list[tuple[int, ImageError]]


def shuffle_indices(seed: int, epoch: int, image_count: int) -> list[int]:
    """Return the order of an epoch: a permutation of `range(image_count)` that depends on seed and epoch alone.

    Args:
        seed: the run's seed.
        epoch: number of the epoch, from 1.
        image_count: images of the split.
    """
    # A generator of its own: the global one must neither matter nor change. Seeds lie more than a run's epochs apart.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(image_count, generator=generator).tolist()


def sample_view_indices(seed: int, epoch: int, view_count: int, image_count: int) -> Tensor:
    """Return the cached view that stands for each image in an epoch, int64 [image_count].

    Args:
        seed: the run's seed.
        epoch: number of the epoch, from 1.
        view_count: cached views of each image.
        image_count: images of the split.
    """
    # Times 97, so that views are independent of the order that `shuffle_indices` draws for the same epoch.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 97 % 2**63)
    return torch.randint(view_count, (image_count,), generator=generator)


def batch_indices(indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return consecutive batches of at most `batch_size` indices.

    A last batch of a single image is merged into the one before: BatchNorm cannot estimate a variance from one image.

    Args:
        indices: indices of the images, in order.
        batch_size: images per batch.
    """
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
    """Yield each batch of indices as images, in order.

    Args:
        index_batches: indices of each batch.
        read_image: index -> uint8 [3, S, S]. An image for which it raises an `ImageError` is left out and listed in
            `skipped`; any other error is raised here.
        num_workers: decoding threads.
        pin_memory: allocate batches in page-locked memory, from which a CUDA device copies asynchronously.
    """
    with thread_pool.open_worker_pool(num_workers, "decode") as pool:
        pending_batches: deque[list[tuple[int, Future[Tensor]]]] = deque()
        for indices in index_batches:
            pending_batches.append([(index, pool.submit(read_image, index)) for index in indices])
            if len(pending_batches) > PREFETCH_BATCHES:
                yield _collate_batch(pending_batches.popleft(), pin_memory=pin_memory)
        while pending_batches:
            yield _collate_batch(pending_batches.popleft(), pin_memory=pin_memory)


def _collate_batch(futures: list[tuple[int, Future[Tensor]]], *, pin_memory: bool) -> ImageBatch:
    """Return the batch of images that the futures give, once all are done."""
    indices, images, skipped = [], [], []
    for index, future in futures:
        try:
            images.append(future.result())
            indices.append(index)
        except ImageError as error:
            skipped.append((index, error))
    if not images:
        return ImageBatch(indices, torch.empty(0, 3, 0, 0, dtype=torch.uint8), skipped)
    # Stacked straight into pinned memory: pinning afterwards would copy the batch once more.
    pixels = torch.empty(len(images), *images[0].shape, dtype=images[0].dtype, pin_memory=pin_memory)
    return ImageBatch(indices, torch.stack(images, out=pixels), skipped)
