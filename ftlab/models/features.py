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
from torch import Tensor, nn

from ftlab.data.loader import batches, plan
from ftlab.errors import PictureError
from ftlab.models.folding import fold
from ftlab.models.portions import Portions

ENGINE = "torch, BatchNorm folded"
"""What runs the frozen backbone; another one gives other bits."""
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
    backbone: nn.Module,
    count: int,
    views: int,
    read: Read,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device,
    workers: int,
) -> Iterator[int | Features]:
    """Pictures done so far, as they are done; at last the features.

    Args:
        backbone: float32 [B, 3, side, side] -> [B, D]; it is copied, and left as it is.
        count: N, pictures in the split.
        views: V, see `transforms.view`.
        read: gives one view of one picture.
        normalise: uint8 [B, 3, side, side] -> float32, same shape.
        device: where the backbone runs.
        workers: threads.
    """
    layout = torch.channels_last if _has_convolutions(backbone) else torch.contiguous_format
    engine = fold(backbone).to(device).to(memory_format=layout)

    portions = Portions()

    def look(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            batch = normalise(pixels.to(device, non_blocking=True)).contiguous(memory_format=layout)
            return engine(batch).float().cpu()

    def run(pixels: Tensor) -> Tensor:
        return torch.cat(portions.over(len(pixels), lambda some: look(pixels[some])))

    found: dict[int, Tensor] = {}
    skipped: list[tuple[int, PictureError]] = []
    source = _on_processor if device.type == "cpu" else _on_card
    for indices, vectors, refused in source(count, views, read, run, workers):
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


def _has_convolutions(module: nn.Module) -> bool:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1
