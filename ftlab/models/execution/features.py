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

from ftlab.core.errors import ImageError
from ftlab.data.loading import thread_pool
from ftlab.data.loading.loader import load_batches
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import FeatureCache

_CPU_CHUNK_IMAGES = 4
"""Pictures a thread takes at once."""
_MAX_PENDING_CHUNKS = 64
"""Pieces that are under way or done and not yet asked for."""
_GPU_BATCH_SIZE = 64
CACHE_BATCH_IMAGES = 2048
"""Pictures that are looked up, or kept, at a time."""

ReadViews = Callable[[int], Tensor]
"""index -> the views of its picture, uint8 [V, 3, side, side]."""
ViewBatch = tuple[list[int], Tensor, list[tuple[int, ImageError]]]
ReadBatches = Callable[[Sequence[list[int]]], Iterator[ViewBatch]]
"""Pieces of indices -> of each: those that could be read, their views on the device, uint8 [V, B, 3, side, side], and
the others with the reason."""
GetCacheKeys = Callable[[int], list[bytes] | None]
"""index -> what the features of its views are kept by."""


@dataclass(frozen=True)
class Features:
    """What the backbone gave.

    Attributes:
        vectors: float32 [V, N, D] on the processor, N the pictures that could be read.
        indices: their positions in the split.
        skipped: positions that could not be read, and why.
        cached_count: how many of the pictures were known from before.
    """

    vectors: Tensor
    indices: list[int]
    skipped: list[tuple[int, ImageError]]
    cached_count: int = 0


def compute_features(
    engine: Engine,
    image_count: int,
    view_count: int,
    read_views: ReadViews,
    device: torch.device,
    num_workers: int,
    cache: FeatureCache | None = None,
    get_keys: GetCacheKeys = lambda index: None,
    *,
    read_batches: ReadBatches | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[int | Features]:
    """Pictures done so far, as they are done; at last the features.

    Of several processes each looks at its share of the pictures, and speaks as often as the others: they are to be put
    together by whoever asked.

    Args:
        engine: runs the backbone.
        image_count: N, pictures in the split.
        view_count: V, see `transforms.view`.
        read_views: gives the views of one picture.
        device: where the engine computes.
        num_workers: threads.
        cache: of features that were computed before.
        get_keys: what those of a picture's views are kept by; None for one that is not to be looked up.
        read_batches: gives batches of views to a card, instead of `read_views` on threads.
        rank, world_size: number of the process, from 0, and how many there are.
    """
    table = _FeatureTable(view_count, image_count)
    uncached_keys = (yield from _fill_from_cache(table, cache, get_keys, num_workers)) if cache else {}
    cached_count = table.filled_count
    new_entries: list[tuple[bytes, Tensor]] = []
    skipped: list[tuple[int, ImageError]] = []
    pin_memory = device.type == "cuda"
    rank_indices = [table.missing_indices()[process_rank::world_size] for process_rank in range(world_size)]
    chunk_count = 0
    if device.type == "cpu":
        feature_batches = _extract_on_cpu(rank_indices[rank], view_count, read_views, engine, num_workers)
    else:
        read_batches = read_batches or partial(
            read_view_batches, read_views=read_views, num_workers=num_workers, pin_memory=pin_memory
        )
        feature_batches = extract_on_gpu(
            read_batches(split_into_chunks(rank_indices[rank], _GPU_BATCH_SIZE)), view_count, engine
        )
    for indices, vectors, failures in feature_batches:
        for index, image_features in zip(indices, vectors.unbind(1), strict=True):
            table.put(index, image_features)
            if index in uncached_keys:
                new_entries += zip(uncached_keys[index], image_features, strict=True)
        skipped += failures
        if cache and len(new_entries) >= CACHE_BATCH_IMAGES:  # a training that is ended now begins from there
            cache.put(new_entries)
            new_entries = []
        yield table.filled_count + len(skipped)
        chunk_count += 1
    for _ in range(
        chunk_count,
        len(split_into_chunks(rank_indices[0], _CPU_CHUNK_IMAGES if device.type == "cpu" else _GPU_BATCH_SIZE)),
    ):
        yield table.filled_count + len(skipped)  # the first has a picture more, and so perhaps a piece
    if cache:
        cache.put(new_entries)
    order = table.filled_indices()
    yield Features(table.compact_vectors(), order, skipped, cached_count)


def load_cached_features(
    cache: FeatureCache, get_keys: GetCacheKeys, image_count: int, view_count: int, num_workers: int
) -> Iterator[int | Features]:
    """Pictures found so far; at last the features of N = `image_count` pictures, if those of all of them are kept. See
    `compute_features`."""
    table = _FeatureTable(view_count, image_count)
    for chunk_number, filled_count in enumerate(_fill_from_cache(table, cache, get_keys, num_workers), start=1):
        if filled_count < min(image_count, chunk_number * CACHE_BATCH_IMAGES):
            return
        yield filled_count
    yield Features(table.compact_vectors(), table.filled_indices(), [], image_count)


class _FeatureTable:
    """Features as they come, in one piece of memory from the start: what is gathered first and joined then takes
    twice as much."""

    def __init__(self, view_count: int, image_count: int) -> None:
        self._vectors, self._view_count = torch.empty(view_count, 0, 0), view_count
        self._is_filled = torch.zeros(image_count, dtype=torch.bool)
        self.filled_count = 0

    def put(self, index: int, image_features: Tensor) -> None:
        """Features float32 [V, D] of one picture."""
        if not self.filled_count:
            self._vectors = torch.empty(self._view_count, len(self._is_filled), image_features.shape[1])
        self._vectors[:, index] = image_features
        self._is_filled[index] = True
        self.filled_count += 1

    def missing_indices(self) -> list[int]:
        return torch.nonzero(~self._is_filled).flatten().tolist()

    def filled_indices(self) -> list[int]:
        return torch.nonzero(self._is_filled).flatten().tolist()

    def compact_vectors(self) -> Tensor:
        """float32 [V, N, D] of what is there, in order. Gaps are closed in place: every row moves down, if at all."""
        order = torch.nonzero(self._is_filled).flatten()
        if len(order) < len(self._is_filled):
            for start in range(0, len(order), CACHE_BATCH_IMAGES):
                source_indices = order[start : start + CACHE_BATCH_IMAGES]
                self._vectors[:, start : start + len(source_indices)] = self._vectors[:, source_indices]
        return self._vectors[:, : len(order)]


def _fill_from_cache(
    table: _FeatureTable, cache: FeatureCache, get_keys: GetCacheKeys, num_workers: int
) -> Generator[int, None, dict[int, list[bytes]]]:
    """Puts the features that are kept into the table, and tells how many are there. The generator's value: the keys of
    the pictures that can be looked up and are not kept, by index."""
    uncached_keys: dict[int, list[bytes]] = {}
    missing_indices = table.missing_indices()
    with ThreadPoolExecutor(num_workers, "keys") as pool:
        for start in range(0, len(missing_indices), CACHE_BATCH_IMAGES):
            batch_indices = missing_indices[start : start + CACHE_BATCH_IMAGES]
            keys_by_index = {
                index: image_keys
                for index, image_keys in zip(batch_indices, pool.map(get_keys, batch_indices), strict=True)
                if image_keys
            }
            cached_vectors = cache.get([key for image_keys in keys_by_index.values() for key in image_keys])
            for index, image_keys in keys_by_index.items():
                if all(key in cached_vectors for key in image_keys):
                    table.put(index, torch.stack([cached_vectors[key] for key in image_keys]))
                else:
                    uncached_keys[index] = image_keys
            yield table.filled_count
    return uncached_keys


FeatureBatch = tuple[list[int], Tensor, list[tuple[int, ImageError]]]
"""Indices, their features float32 [V, B, D] on the processor, and those that could not be read."""


def _extract_on_cpu(
    image_indices: Sequence[int],
    view_count: int,
    read_views: ReadViews,
    engine: Callable[[Tensor], Tensor],
    num_workers: int,
) -> Iterator[FeatureBatch]:
    def extract_chunk(chunk: list[int]) -> FeatureBatch:
        vectors, indices, failures = [], [], []
        for index in chunk:
            try:
                # Alone: its bits do not depend on which pictures are looked at beside it.
                vectors.append(torch.cat([engine(view[None]) for view in read_views(index)]))
                indices.append(index)
            except ImageError as error:
                failures.append((index, error))
        if not vectors:
            return [], torch.empty(view_count, 0, 0), failures
        return indices, torch.stack(vectors, dim=1), failures

    with thread_pool.open_worker_pool(num_workers, "features") as pool:
        pending: deque[Future[FeatureBatch]] = deque()
        for chunk in split_into_chunks(image_indices, _CPU_CHUNK_IMAGES):
            pending.append(pool.submit(extract_chunk, chunk))
            if len(pending) > _MAX_PENDING_CHUNKS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def extract_on_gpu(
    view_batches: Iterator[ViewBatch],
    view_count: int,
    engine: Callable[[Tensor], Tensor],
) -> Iterator[FeatureBatch]:
    for indices, pixels, skipped in view_batches:
        yield (
            indices,
            torch.stack([_run_padded_batch(engine, view) for view in pixels])
            if indices
            else torch.empty(view_count, 0, 0),
            skipped,
        )


def _run_padded_batch(engine: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """What `engine` gives for some pictures, as the first of a whole batch: a card takes a second or two to find its
    kernels for a batch of another size."""
    padding_count = _GPU_BATCH_SIZE - len(pixels)
    return engine(torch.cat([pixels, pixels[:1].expand(padding_count, -1, -1, -1)]) if padding_count > 0 else pixels)[
        : len(pixels)
    ]


def read_view_batches(
    chunks: Sequence[list[int]], read_views: ReadViews, num_workers: int, *, pin_memory: bool
) -> Iterator[ViewBatch]:
    for batch in load_batches(chunks, read_views, num_workers, pin_memory=pin_memory):
        yield batch.indices, batch.pixels.transpose(0, 1) if batch.indices else batch.pixels, batch.skipped


def split_into_chunks(indices: Sequence[int], chunk_size: int) -> list[list[int]]:
    return [list(indices[start : start + chunk_size]) for start in range(0, len(indices), chunk_size)]
