"""Running the images of a split through an engine: on worker threads of the CPU, or in batches on a GPU."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from ftlab.core.errors import ImageError
from ftlab.data.loading import thread_pool
from ftlab.data.loading.loader import load_batches
from ftlab.models.execution.engines import Engine

_CPU_CHUNK_IMAGES = 4
"""Images that a worker thread takes at a time."""
_MAX_PENDING_CHUNKS = 64
"""Chunks that are under way, or done and not yet consumed."""
_GPU_BATCH_SIZE = 64
"""Views in a batch on a GPU."""
ReadViews = Callable[[int], Tensor]
"""Index -> the views of its image, uint8 [V, 3, S, S]."""
ViewBatch = tuple[list[int], Tensor, list[tuple[int, ImageError]]]
"""Indices, their views, uint8 [V, B, 3, S, S], and the indices that could not be read with the reason."""
ReadBatches = Callable[[Sequence[list[int]]], Iterator[ViewBatch]]
"""Chunks of indices -> for each a `ViewBatch` with its views on the device."""
FeatureBatch = tuple[list[int], Tensor, list[tuple[int, ImageError]]]
"""Indices, their features, float32 [V, B, D] on the CPU, and the indices that could not be read with the reason."""


def extract_features(
    engine: Engine,
    image_indices: Sequence[int],
    view_count: int,
    read_views: ReadViews,
    device: torch.device,
    num_workers: int,
    read_batches: ReadBatches | None = None,
) -> Iterator[FeatureBatch]:
    """Decode images and run them through an engine.

    Args:
        engine: runs the backbone.
        image_indices: to be computed.
        view_count: V.
        read_views: reads the views of one image.
        device: where the engine computes.
        num_workers: threads.
        read_batches: reads batches of views for a GPU, instead of `read_views` on threads.

    Returns:
        An iterator over the features of `split_by_device`'s chunks, in order.
    """
    chunks = split_by_device(image_indices, device)
    if device.type == "cpu":
        return _extract_on_cpu(chunks, view_count, read_views, engine, num_workers)
    # Page-locked memory is what CUDA can copy from asynchronously.
    read_batches = read_batches or partial(
        read_view_batches, read_views=read_views, num_workers=num_workers, pin_memory=device.type == "cuda"
    )
    return extract_on_gpu(read_batches(chunks), view_count, engine)


def split_by_device(image_indices: Sequence[int], device: torch.device) -> list[list[int]]:
    """Split indices into the chunks that a device takes at a time.

    Args:
        image_indices: in order.
        device: where the engine computes.

    Returns:
        The chunks.
    """
    return split_into_chunks(image_indices, _CPU_CHUNK_IMAGES if device.type == "cpu" else _GPU_BATCH_SIZE)


def _extract_on_cpu(
    chunks: Sequence[list[int]],
    view_count: int,
    read_views: ReadViews,
    engine: Callable[[Tensor], Tensor],
    num_workers: int,
) -> Iterator[FeatureBatch]:
    """Decode and run images on worker threads, a few each.

    Args:
        chunks: indices that a thread takes at a time.
        view_count: V.
        read_views: reads the views of one image.
        engine: images -> features.
        num_workers: threads.

    Yields:
        Features, in order.
    """
    is_closed = threading.Event()

    def run_view(view: Tensor) -> Tensor:
        # A large backbone takes seconds for a chunk: who closes this generator does not wait for the rest of it.
        if is_closed.is_set():
            raise CancelledError
        return engine(view[None])

    def extract_chunk(chunk: list[int]) -> FeatureBatch:
        vectors, indices, failures = [], [], []
        for index in chunk:
            try:
                # One view at a time: its bits then do not depend on the other images of a batch.
                vectors.append(torch.cat([run_view(view) for view in read_views(index)]))
                indices.append(index)
            except ImageError as error:
                failures.append((index, error))
        if not vectors:
            return [], torch.empty(view_count, 0, 0), failures
        return indices, torch.stack(vectors, dim=1), failures

    with thread_pool.open_worker_pool(num_workers, "features") as pool, _set_at_end(is_closed):
        pending: deque[Future[FeatureBatch]] = deque()
        for chunk in chunks:
            pending.append(pool.submit(extract_chunk, chunk))
            # In order, and with a bound: a slow consumer must not fill the memory.
            if len(pending) > _MAX_PENDING_CHUNKS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _set_at_end(event: threading.Event) -> Iterator[None]:
    """Set an event at the end of the block."""
    try:
        yield
    finally:
        event.set()


def extract_on_gpu(
    view_batches: Iterator[ViewBatch],
    view_count: int,
    engine: Callable[[Tensor], Tensor],
) -> Iterator[FeatureBatch]:
    """Run batches of views through an engine on a GPU.

    Args:
        view_batches: on the device.
        view_count: V.
        engine: images -> features.

    Yields:
        Features, in order.
    """
    for indices, pixels, skipped in view_batches:
        yield (
            indices,
            torch.stack([_run_padded_batch(engine, view) for view in pixels])
            if indices
            else torch.empty(view_count, 0, 0),
            skipped,
        )


def _run_padded_batch(engine: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Run images padded to a full batch: cuDNN takes a second or two to find its kernels for a batch of another size.

    Args:
        engine: images -> features.
        pixels: uint8 [B, 3, S, S], B at most `_GPU_BATCH_SIZE`.

    Returns:
        float32 [B, D].
    """
    padding_count = _GPU_BATCH_SIZE - len(pixels)
    return engine(torch.cat([pixels, pixels[:1].expand(padding_count, -1, -1, -1)]) if padding_count > 0 else pixels)[
        : len(pixels)
    ]


def read_view_batches(
    chunks: Sequence[list[int]], read_views: ReadViews, num_workers: int, *, pin_memory: bool
) -> Iterator[ViewBatch]:
    """Read batches of views on threads.

    Args:
        chunks: indices of each batch.
        read_views: reads the views of one image.
        num_workers: threads.
        pin_memory: page-lock the batches, so that they are copied to a CUDA device asynchronously.

    Yields:
        A batch for each chunk.
    """
    for batch in load_batches(chunks, read_views, num_workers, pin_memory=pin_memory):
        yield batch.indices, batch.pixels.transpose(0, 1) if batch.indices else batch.pixels, batch.skipped


def split_into_chunks(indices: Sequence[int], chunk_size: int) -> list[list[int]]:
    """Split indices into chunks.

    Args:
        indices: in order.
        chunk_size: of all but the last.

    Returns:
        The chunks.
    """
    return [list(indices[start : start + chunk_size]) for start in range(0, len(indices), chunk_size)]
