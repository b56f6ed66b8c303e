"""Frozen mode's short cut: the backbone runs once over each view of each picture, the head trains on the result.

On a processor each thread decodes a picture and runs it through one shared engine whose computations use one thread:
two cores are then busy all the time, without handing pictures from one to the other. On a graphics card threads decode
and the card takes whole batches. What was computed before is taken from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.data.loader import batches
from ftlab.errors import PictureError
from ftlab.models.engines import Engine
from ftlab.models.feature_store import Store

_PIECE = 4
"""Pictures a thread takes at once."""
_CARD_BATCH = 64

Read = Callable[[int, int], Tensor]
"""(index, view) -> uint8 [3, side, side]."""
Keys = Callable[[int], list[bytes] | None]
"""index -> what the features of its views are kept by."""


@dataclass(frozen=True)
class Features:
    """What the backbone gave.

    Attributes:
        vectors: float32 [V, N, D] on the processor, N the pictures that could be read.
        indices: their positions in the split.
        skipped: positions that could not be read, and why.
        kept: how many of the pictures were known from before.
    """

    vectors: Tensor
    indices: list[int]
    skipped: list[tuple[int, PictureError]]
    kept: int = 0


def compute(
    engine: Engine,
    count: int,
    views: int,
    read: Read,
    device: torch.device,
    workers: int,
    store: Store | None = None,
    keys: Keys = lambda index: None,
) -> Iterator[int | Features]:
    """Pictures done so far, as they are done; at last the features.

    Args:
        engine: runs the backbone.
        count: N, pictures in the split.
        views: V, see `transforms.view`.
        read: gives one view of one picture.
        device: where the engine computes.
        workers: threads.
        store: of features that were computed before.
        keys: what those of a picture's views are kept by; None for one that is not to be looked up.
    """
    known = _kept(store, keys, count, workers) if store else {}
    found = {index: vectors for index, (vectors, _) in known.items() if vectors is not None}
    missing, kept = [index for index in range(count) if index not in found], len(found)
    new: list[tuple[bytes, Tensor]] = []
    skipped: list[tuple[int, PictureError]] = []
    source = _on_processor if device.type == "cpu" else _on_card
    for indices, vectors, refused in source(missing, views, read, engine, workers):
        for index, own in zip(indices, vectors.unbind(1), strict=True):
            found[index] = own
            if index in known:
                new += zip(known[index][1], own, strict=True)
        skipped += refused
        yield len(found) + len(skipped)
    if store:
        store.put(new)
    order = sorted(found)
    vectors = torch.stack([found[index] for index in order], dim=1) if order else torch.empty(views, 0, 0)
    yield Features(vectors, order, skipped, kept)


def _kept(store: Store, keys: Keys, count: int, workers: int) -> dict[int, tuple[Tensor | None, list[bytes]]]:
    """By index of a picture that can be looked up: its features [V, D] if all of them are kept, and their keys."""
    with ThreadPoolExecutor(workers, "keys") as pool:
        named = {index: own for index, own in enumerate(pool.map(keys, range(count))) if own}
    rows = store.get([key for own in named.values() for key in own])
    return {
        index: (torch.stack([rows[key] for key in own]) if all(key in rows for key in own) else None, own)
        for index, own in named.items()
    }


Part = tuple[list[int], Tensor, list[tuple[int, PictureError]]]


def _on_processor(
    wanted: Sequence[int], views: int, read: Read, run: Callable[[Tensor], Tensor], workers: int
) -> Iterator[Part]:
    def work(piece: list[int]) -> Part:
        rows, indices, refused = [], [], []
        for index in piece:
            try:
                # Alone: its bits do not depend on which pictures are looked at beside it.
                rows.append(torch.cat([run(read(index, view)[None]) for view in range(views)]))
                indices.append(index)
            except PictureError as refusal:
                refused.append((index, refusal))
        if not rows:
            return [], torch.empty(views, 0, 0), refused
        return indices, torch.stack(rows, dim=1), refused

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers, "features", initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting: list[Future[Part]] = [pool.submit(work, piece) for piece in _pieces(wanted, _PIECE)]
        for future in waiting:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _on_card(
    wanted: Sequence[int], views: int, read: Read, run: Callable[[Tensor], Tensor], workers: int
) -> Iterator[Part]:
    def every_view(index: int) -> Tensor:
        return torch.stack([read(index, view) for view in range(views)])

    for batch in batches(_pieces(wanted, _CARD_BATCH), every_view, workers):
        if batch.indices:
            vectors = torch.stack([run(batch.pixels[:, view]) for view in range(views)])
            yield batch.indices, vectors, batch.skipped
        else:
            yield [], torch.empty(views, 0, 0), batch.skipped


def _pieces(wanted: Sequence[int], size: int) -> list[list[int]]:
    return [list(wanted[start : start + size]) for start in range(0, len(wanted), size)]
