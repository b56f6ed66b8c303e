"""Frozen mode's short cut: the backbone runs once over each view of each picture, the head trains on the result.

On a processor each thread decodes a picture and runs it through one shared engine whose computations use one thread:
two cores are then busy all the time, without handing pictures from one to the other. On a graphics card threads decode
and the card takes whole batches. What was computed before is taken from the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ftlab.core.errors import PictureError
from ftlab.data.loading import thread_pool
from ftlab.data.loading.loader import batches
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import Store

_PIECE = 4
"""Pictures a thread takes at once."""
_AHEAD = 64
"""Pieces that are under way or done and not yet asked for."""
_CARD_BATCH = 64
_KEEP = 2048
"""Pictures that are looked up, or kept, at a time."""

Read = Callable[[int], Tensor]
"""index -> the views of its picture, uint8 [V, 3, side, side]."""
Views = tuple[list[int], Tensor, list[tuple[int, PictureError]]]
Whole = Callable[[Sequence[list[int]]], Iterator[Views]]
"""Pieces of indices -> of each: those that could be read, their views on the device, uint8 [V, B, 3, side, side], and
the others with the reason."""
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
    *,
    whole: Whole | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[int | Features]:
    """Pictures done so far, as they are done; at last the features.

    Of several processes each looks at its share of the pictures, and speaks as often as the others: they are to be put
    together by whoever asked.

    Args:
        engine: runs the backbone.
        count: N, pictures in the split.
        views: V, see `transforms.view`.
        read: gives the views of one picture.
        device: where the engine computes.
        workers: threads.
        store: of features that were computed before.
        keys: what those of a picture's views are kept by; None for one that is not to be looked up.
        whole: gives batches of views to a card, instead of `read` on threads.
        rank, world: number of the process, from 0, and how many there are.
    """
    table = _Table(views, count)
    named = (yield from _kept(table, store, keys, workers)) if store else {}
    kept = table.filled
    new: list[tuple[bytes, Tensor]] = []
    skipped: list[tuple[int, PictureError]] = []
    pinned = device.type == "cuda"
    shares = [table.missing()[number::world] for number in range(world)]
    parts = 0
    if device.type == "cpu":
        work = _on_processor(shares[rank], views, read, engine, workers)
    else:
        whole = whole or partial(_by_threads, read=read, workers=workers, pinned=pinned)
        work = _on_card(whole(_pieces(shares[rank], _CARD_BATCH)), views, engine)
    for indices, vectors, refused in work:
        for index, own in zip(indices, vectors.unbind(1), strict=True):
            table.put(index, own)
            if index in named:
                new += zip(named[index], own, strict=True)
        skipped += refused
        if store and len(new) >= _KEEP:  # a training that is ended now begins from there
            store.put(new)
            new = []
        yield table.filled + len(skipped)
        parts += 1
    for _ in range(parts, len(_pieces(shares[0], _PIECE if device.type == "cpu" else _CARD_BATCH))):
        yield table.filled + len(skipped)  # the first has a picture more, and so perhaps a piece
    if store:
        store.put(new)
    order = table.order()
    yield Features(table.compact(), order, skipped, kept)


def kept(store: Store, keys: Keys, count: int, views: int, workers: int) -> Iterator[int | Features]:
    """Pictures found so far; at last the features of N = `count` pictures, if those of all of them are kept. See
    `compute`."""
    table = _Table(views, count)
    for done, filled in enumerate(_kept(table, store, keys, workers), start=1):
        if filled < min(count, done * _KEEP):
            return
        yield filled
    yield Features(table.compact(), table.order(), [], count)


class _Table:
    """Features as they come, in one piece of memory from the start: what is gathered first and joined then takes
    twice as much."""

    def __init__(self, views: int, count: int) -> None:
        self._vectors, self._views = torch.empty(views, 0, 0), views
        self._there = torch.zeros(count, dtype=torch.bool)
        self.filled = 0

    def put(self, index: int, own: Tensor) -> None:
        """Features float32 [V, D] of one picture."""
        if not self.filled:
            self._vectors = torch.empty(self._views, len(self._there), own.shape[1])
        self._vectors[:, index] = own
        self._there[index] = True
        self.filled += 1

    def missing(self) -> list[int]:
        return torch.nonzero(~self._there).flatten().tolist()

    def order(self) -> list[int]:
        return torch.nonzero(self._there).flatten().tolist()

    def compact(self) -> Tensor:
        """float32 [V, N, D] of what is there, in order. Gaps are closed in place: every row moves down, if at all."""
        order = torch.nonzero(self._there).flatten()
        if len(order) < len(self._there):
            for start in range(0, len(order), _KEEP):
                some = order[start : start + _KEEP]
                self._vectors[:, start : start + len(some)] = self._vectors[:, some]
        return self._vectors[:, : len(order)]


def _kept(table: _Table, store: Store, keys: Keys, workers: int) -> Generator[int, None, dict[int, list[bytes]]]:
    """Puts the features that are kept into the table, and tells how many are there. The generator's value: the keys of
    the pictures that can be looked up and are not kept, by index."""
    named: dict[int, list[bytes]] = {}
    wanted = table.missing()
    with ThreadPoolExecutor(workers, "keys") as pool:
        for start in range(0, len(wanted), _KEEP):
            some = wanted[start : start + _KEEP]
            found = {index: own for index, own in zip(some, pool.map(keys, some), strict=True) if own}
            rows = store.get([key for own in found.values() for key in own])
            for index, own in found.items():
                if all(key in rows for key in own):
                    table.put(index, torch.stack([rows[key] for key in own]))
                else:
                    named[index] = own
            yield table.filled
    return named


Part = tuple[list[int], Tensor, list[tuple[int, PictureError]]]
"""Indices, their features float32 [V, B, D] on the processor, and those that could not be read."""


def _on_processor(
    wanted: Sequence[int], views: int, read: Read, run: Callable[[Tensor], Tensor], workers: int
) -> Iterator[Part]:
    def work(piece: list[int]) -> Part:
        rows, indices, refused = [], [], []
        for index in piece:
            try:
                # Alone: its bits do not depend on which pictures are looked at beside it.
                rows.append(torch.cat([run(view[None]) for view in read(index)]))
                indices.append(index)
            except PictureError as refusal:
                refused.append((index, refusal))
        if not rows:
            return [], torch.empty(views, 0, 0), refused
        return indices, torch.stack(rows, dim=1), refused

    with thread_pool.of_one(workers, "features") as pool:
        waiting: deque[Future[Part]] = deque()
        for piece in _pieces(wanted, _PIECE):
            waiting.append(pool.submit(work, piece))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _on_card(
    made: Iterator[Views],
    views: int,
    run: Callable[[Tensor], Tensor],
) -> Iterator[Part]:
    for indices, pixels, skipped in made:
        yield (
            indices,
            torch.stack([_full(run, view) for view in pixels]) if indices else torch.empty(views, 0, 0),
            skipped,
        )


def _full(run: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """What `run` gives for some pictures, as the first of a whole batch: a card takes a second or two to find its
    kernels for a batch of another size."""
    lacking = _CARD_BATCH - len(pixels)
    return run(torch.cat([pixels, pixels[:1].expand(lacking, -1, -1, -1)]) if lacking > 0 else pixels)[: len(pixels)]


def _by_threads(pieces: Sequence[list[int]], read: Read, workers: int, *, pinned: bool) -> Iterator[Views]:
    for batch in batches(pieces, read, workers, pinned=pinned):
        yield batch.indices, batch.pixels.transpose(0, 1) if batch.indices else batch.pixels, batch.skipped


def _pieces(wanted: Sequence[int], size: int) -> list[list[int]]:
    return [list(wanted[start : start + size]) for start in range(0, len(wanted), size)]
