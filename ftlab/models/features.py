"""Frozen mode's short cut: the backbone runs once over each view of each picture, the head trains on the result.

On a processor each thread decodes a few pictures and runs them through one shared network whose computations use one
thread: two cores are then busy all the time, without handing pictures from one to the other. On a graphics card
threads decode and the card takes whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.data.loader import batches, plan
from ftlab.errors import PictureError
from ftlab.models.engines import Engine

_PIECE = 4
"""Pictures a thread takes at once: small enough that a layer's output stays in a core's cache."""
_CARD_BATCH = 64

Read = Callable[[int, int], Tensor]
"""(index, view) -> uint8 [3, side, side]."""


@dataclass(frozen=True)
class Features:
    """What the backbone gave.

    Attributes:
        vectors: float32 [V, N, D] on the processor, N the pictures that could be read.
        indices: their positions in the split.
        skipped: positions that could not be read, and why.
    """

    vectors: Tensor
    indices: list[int]
    skipped: list[tuple[int, PictureError]]


def compute(
    engine: Engine, count: int, views: int, read: Read, device: torch.device, workers: int
) -> Iterator[int | Features]:
    """Pictures done so far, as they are done; at last the features.

    Args:
        engine: runs the backbone.
        count: N, pictures in the split.
        views: V, see `transforms.view`.
        read: gives one view of one picture.
        device: where the engine computes.
        workers: threads.
    """
    found: dict[int, Tensor] = {}
    skipped: list[tuple[int, PictureError]] = []
    source = _on_processor if device.type == "cpu" else _on_card
    for indices, vectors, refused in source(count, views, read, engine, workers):
        found.update(zip(indices, vectors.unbind(1), strict=True))
        skipped += refused
        yield len(found) + len(skipped)
    kept = sorted(found)
    vectors = torch.stack([found[index] for index in kept], dim=1) if kept else torch.empty(views, 0, 0)
    yield Features(vectors, kept, skipped)


Part = tuple[list[int], Tensor, list[tuple[int, PictureError]]]


def _on_processor(count: int, views: int, read: Read, run: Callable[[Tensor], Tensor], workers: int) -> Iterator[Part]:
    def work(piece: list[int]) -> Part:
        rows, indices, refused = [], [], []
        for index in piece:
            try:
                rows.append(torch.stack([read(index, view) for view in range(views)], dim=0))
                indices.append(index)
            except PictureError as refusal:
                refused.append((index, refusal))
        if not rows:
            return [], torch.empty(views, 0, 0), refused
        pixels = torch.stack(rows, dim=1)
        return indices, torch.stack([run(pixels[view]) for view in range(views)]), refused

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers, "features", initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting: list[Future[Part]] = [pool.submit(work, piece) for piece in plan(range(count), _PIECE)]
        for future in waiting:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _on_card(count: int, views: int, read: Read, run: Callable[[Tensor], Tensor], workers: int) -> Iterator[Part]:
    def every_view(index: int) -> Tensor:
        return torch.stack([read(index, view) for view in range(views)])

    for batch in batches(plan(range(count), _CARD_BATCH), every_view, workers):
        if batch.indices:
            vectors = torch.stack([run(batch.pixels[:, view]) for view in range(views)])
            yield batch.indices, vectors, batch.skipped
        else:
            yield [], torch.empty(views, 0, 0), batch.skipped
