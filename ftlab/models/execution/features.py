"""Features of a split: in frozen mode the backbone runs once over each view of each image, and the head trains on them.

On the CPU each worker thread decodes an image and runs it through one shared engine that computes on one thread: all
cores are then busy all the time, and no image is handed from one to another. On a GPU, threads decode and the GPU takes
whole batches. Features that were computed before come from the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.core.errors import ImageError
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import FeatureCache
from ftlab.models.execution.feature_extraction import ReadBatches, ReadViews, extract_features, split_by_device
from ftlab.models.execution.feature_rows import ROW_DTYPES, pack_rows

CACHE_BATCH_IMAGES = 2048
"""Images looked up, or stored, at a time."""
_STORE_INTERVAL_SECONDS = 10.0
"""Seconds after which the features computed since are stored, so that a training whose process ends can continue."""

AllocateRows = Callable[[tuple[int, int, int], torch.dtype], Tensor]
"""Shape [V, N, W] and dtype -> an empty table on the CPU."""
GetCacheKeys = Callable[[int], list[bytes] | None]
"""Index -> the cache keys of its views; None for an image that is not to be cached."""


def allocate_in_memory(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Return an empty table of a shape and dtype in memory, see `AllocateRows`."""
    return torch.empty(shape, dtype=dtype)


@dataclass(frozen=True)
class RankPart:
    """The images that one of several ranks computes: every `world_size`-th.

    Attributes:
        rank: number of the process, from 0.
        world_size: number of processes.
        max_over_ranks: count -> the largest count of any rank. All of them call it as often.
    """

    rank: int = 0
    world_size: int = 1
    max_over_ranks: Callable[[int], int] = lambda count: count

    def select_indices(self, image_count: int) -> range:
        """Return the indices of this rank's images among the images of a split."""
        return range(self.rank, image_count, self.world_size)


ALL_IMAGES = RankPart()
"""The part of a process that computes alone."""


@dataclass(frozen=True)
class Features:
    """Features of a split.

    Attributes:
        vectors: float32 [V, N, D] on the CPU, N the images that could be read; in half precision float16 [V, N, D + 1],
            see `feature_rows`. Of one of several ranks: rows of all images of the split, most of which it leaves as
            they are.
        indices: their positions in the split.
        skipped: positions that could not be read, and why.
        cached_count: how many of the images came from the cache.
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
    get_keys: GetCacheKeys = lambda _index: None,
    *,
    read_batches: ReadBatches | None = None,
    precision: str = "fp32",
    rank_part: RankPart = ALL_IMAGES,
    allocate_rows: AllocateRows = allocate_in_memory,
    read_position: Callable[[int], tuple[str, int]] = lambda index: ("", index),
) -> Iterator[int | Features]:
    """Compute the features of a split.

    Each rank of several computes its part of them, and yields as often as the others; the caller joins them.

    Args:
        engine: runs the backbone.
        image_count: N, images in the split.
        view_count: V.
        read_views: reads the views of one image.
        device: where the engine computes.
        num_workers: threads.
        cache: of features that were computed before.
        get_keys: cache keys of an image's views, see `GetCacheKeys`.
        read_batches: reads batches of views for a GPU, instead of `read_views` on threads.
        precision: in which the features are kept, see `feature_rows`; that of the cache too.
        rank_part: the images to compute.
        allocate_rows: makes the table of all features.
        read_position: index -> file and position of an image: files of many images are read from begin to end.

    Yields:
        Images done so far; at last the features.
    """
    table = _FeatureTable(view_count, image_count, precision, allocate_rows, rank_part)
    uncached_keys = (yield from _fill_from_cache(table, cache, get_keys, num_workers)) if cache else {}
    cached_count = table.filled_count
    new_entries, skipped = list[tuple[bytes, Tensor]](), list[tuple[int, ImageError]]()
    batch_images, chunk_count, last_store_time = _count_batch_images(cache), 0, time.monotonic()
    missing_indices = sorted(table.missing_indices(), key=read_position)
    max_chunk_count = rank_part.max_over_ranks(len(split_by_device(missing_indices, device)))
    batches = extract_features(engine, missing_indices, view_count, read_views, device, num_workers, read_batches)
    try:
        for chunk_count, (indices, vectors, failures) in enumerate(batches, start=1):  # noqa: B007 (read after the loop)
            new_entries += _put_chunk(table, indices, pack_rows(vectors, precision), uncached_keys)
            skipped += failures
            seconds = time.monotonic() - last_store_time
            if cache and (seconds > _STORE_INTERVAL_SECONDS or len(new_entries) >= batch_images):
                cache.put(new_entries)
                new_entries, last_store_time = [], time.monotonic()
            yield table.filled_count + len(skipped)
    finally:  # also if the training is stopped
        if cache:
            cache.put(new_entries)
    yield from [table.filled_count + len(skipped)] * (max_chunk_count - chunk_count)  # another rank may have more
    yield Features(table.get_vectors(), table.filled_indices(), skipped, cached_count)


def _count_batch_images(cache: FeatureCache | None) -> int:
    """Return how many images are looked up, or stored, at a time."""
    return min(CACHE_BATCH_IMAGES, cache.max_batch_images) if cache else CACHE_BATCH_IMAGES


def _put_chunk(
    table: _FeatureTable, indices: list[int], rows: Tensor, uncached_keys: dict[int, list[bytes]]
) -> list[tuple[bytes, Tensor]]:
    """Put the features of some images into a table.

    Args:
        table: to be filled.
        indices: of the images.
        rows: their features, [V, B, W] of `pack_rows`.
        uncached_keys: cache keys, by index, of the images that can be cached and are not.

    Returns:
        The entries for the cache.
    """
    entries: list[tuple[bytes, Tensor]] = []
    for index, image_rows in zip(indices, rows.unbind(1), strict=True):
        table.put(index, image_rows)
        entries += zip(uncached_keys.get(index, []), image_rows, strict=index in uncached_keys)
    return entries


def load_cached_features(
    cache: FeatureCache,
    get_keys: GetCacheKeys,
    image_count: int,
    view_count: int,
    num_workers: int,
    allocate_rows: AllocateRows,
    rank_part: RankPart = ALL_IMAGES,
) -> Iterator[int | Features]:
    """Load the features of a split from the cache, if those of all images are there, on all ranks.

    Args:
        cache: of features.
        get_keys: cache keys of an image's views.
        image_count: N, images in the split.
        view_count: V.
        num_workers: threads that compute keys.
        allocate_rows: makes the table of all features.
        rank_part: the images to load.

    Yields:
        Images found so far; at last the features, unless some are missing.
    """
    table = _FeatureTable(view_count, image_count, cache.precision, allocate_rows, rank_part)
    own_count = len(rank_part.select_indices(image_count))
    for chunk_number, filled_count in enumerate(_fill_from_cache(table, cache, get_keys, num_workers), start=1):
        missing_count = min(own_count, chunk_number * _count_batch_images(cache)) - filled_count
        if rank_part.max_over_ranks(missing_count):
            return
        yield filled_count
    yield Features(table.get_vectors(), table.filled_indices(), [], own_count)


class _FeatureTable:
    """Features by index, in memory allocated once: gathering them first and joining them then would take twice as much.

    Attributes:
        filled_count: images that have features.
    """

    def __init__(
        self,
        view_count: int,
        image_count: int,
        precision: str,
        allocate_rows: AllocateRows,
        rank_part: RankPart = ALL_IMAGES,
    ) -> None:
        """Create an empty table.

        Args:
            view_count: V.
            image_count: N.
            precision: of the rows, see `feature_rows`.
            allocate_rows: makes the table once W is known.
            rank_part: the images whose rows are to be filled.
        """
        self.rank_part = rank_part
        self._rows, self._view_count = torch.empty(view_count, 0, 0, dtype=ROW_DTYPES[precision]), view_count
        self._allocate_rows = allocate_rows
        self._is_filled = torch.zeros(image_count, dtype=torch.bool)
        self.filled_count = 0

    def put(self, index: int, image_rows: Tensor) -> None:
        """Set the features of one image.

        Args:
            index: of the image.
            image_rows: [V, W] of `pack_rows`.
        """
        if not self.filled_count:  # only now is W known
            shape = (self._view_count, len(self._is_filled), image_rows.shape[1])
            self._rows = self._allocate_rows(shape, self._rows.dtype)
        self._rows[:, index] = image_rows
        self._is_filled[index] = True
        self.filled_count += 1

    def missing_indices(self) -> list[int]:
        """Return this rank's indices without features, in order."""
        own_indices = torch.tensor(self.rank_part.select_indices(len(self._is_filled)), dtype=torch.int64)
        return own_indices[~self._is_filled[own_indices]].tolist()

    def filled_indices(self) -> list[int]:
        """Return the indices with features, in order."""
        return torch.nonzero(self._is_filled).flatten().tolist()

    def get_vectors(self) -> Tensor:
        """Return the features that are there, [V, N, W], in order; of one of several ranks, the whole table.

        The table is of no use afterwards.
        """
        if self.rank_part.world_size > 1:
            return self._rows
        return compact_rows(self._rows, torch.nonzero(self._is_filled).flatten())


def compact_rows(rows: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of some images, [V, n, W]; gaps are closed in place, so that every row moves down, if at all.

    Args:
        rows: of all images of a split, [V, N, W].
        indices: int64 [n], of the images, in order.
    """
    if len(indices) < rows.shape[1]:
        for start in range(0, len(indices), CACHE_BATCH_IMAGES):
            source_indices = indices[start : start + CACHE_BATCH_IMAGES]
            rows[:, start : start + len(source_indices)] = rows[:, source_indices]
    return rows[:, : len(indices)]


def _fill_from_cache(
    table: _FeatureTable, cache: FeatureCache, get_keys: GetCacheKeys, num_workers: int
) -> Generator[int, None, dict[int, list[bytes]]]:
    """Fill a table from the cache.

    Args:
        table: to be filled.
        cache: of features.
        get_keys: cache keys of an image's views.
        num_workers: threads that compute keys, which read each file.

    Yields:
        Images found so far, on every rank as often.

    Returns:
        Cache keys, by index, of the images that can be cached and are not.
    """
    uncached_keys: dict[int, list[bytes]] = {}
    missing_indices, batch_images = table.missing_indices(), _count_batch_images(cache)
    max_image_count = table.rank_part.max_over_ranks(len(missing_indices))
    # A key is a hash of the file's content: threads overlap reading and hashing.
    with ThreadPoolExecutor(num_workers, "keys") as pool:
        for start in range(0, max_image_count, batch_images):
            batch_indices = missing_indices[start : start + batch_images]
            keys_by_index = {
                index: image_keys
                for index, image_keys in zip(batch_indices, pool.map(get_keys, batch_indices), strict=True)
                if image_keys
            }
            cached_rows = cache.get([key for image_keys in keys_by_index.values() for key in image_keys])
            for index, image_keys in keys_by_index.items():
                # An image counts as cached only with all of its views.
                if all(key in cached_rows for key in image_keys):
                    table.put(index, torch.stack([cached_rows[key] for key in image_keys]))
                else:
                    uncached_keys[index] = image_keys
            yield table.filled_count
    return uncached_keys
