"""Verify in worker processes, cheaply, that each of many image files can be decoded. No torch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.dataset.verified_cache import VerifiedCache
from ftlab.data.isolation import isolated
from ftlab.data.isolation.failed_files import REMEMBERED_CODES, make_failure
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

_FILES_PER_BATCH = 2048
"""Files that are queued at a time, so that a large folder does not become a large queue; and as many after them."""
_MAX_REQUEST_FILES, _MAX_REQUEST_BYTES = 32, 1_000_000
"""Files, and bytes of them, that a worker process verifies per request: others wait for the worker that long."""
_MIN_FILES_PER_WORKER = 32
"""Files per worker process below which no further one is used: starting it would take longer."""
VerifyProgress = Callable[[int, int], None]
"""Called with the number of files done and the number of all files."""


def verify_images(
    root: Path,
    images_by_split: dict[str, ImagesByClass],
    workers: int | None = None,
    progress: VerifyProgress | None = None,
    cache: VerifiedCache | None = None,
) -> tuple[list[tuple[int, int]], list[DatasetProblem]]:
    """Remove the images that cannot be decoded from `images_by_split`.

    Args:
        root: folder that the paths in `images_by_split` are relative to.
        images_by_split: images by split; changed in place.
        workers: number of worker processes; None: one per core, at most 8.
        progress: called in this thread after each file. An exception of it ends the work soon and is passed on.
        cache: images verified before, which are not decoded again; newly verified images are added.

    Returns:
        Width and height in pixels of each image that stays, and a problem for each that is removed, both in the order
        of `images_by_split`.
    """
    base_folder = os.path.abspath(root)  # noqa: PTH100 - `Path.resolve` would follow links; the keys are of plain paths
    image_refs = [
        (images, path)
        for images_by_class in images_by_split.values()
        for images in images_by_class.values()
        for path in images
    ]
    sizes: list[tuple[int, int]] = []
    problems: list[DatasetProblem] = []
    max_workers = min(workers or isolated.MAX_WORKERS, isolated.get_shared_pool().max_workers)
    worker_count = max(1, min(max_workers, len(image_refs) // _MIN_FILES_PER_WORKER))
    files = [(path, images[path]) for images, path in image_refs]
    # Each thread waits for a worker process.
    with (
        ThreadPoolExecutor(worker_count, "check") as pool,
        closing(_iter_results(base_folder, files, pool, cache)) as results,
    ):
        for checked_count, ((images, path), result) in enumerate(zip(image_refs, results, strict=True), start=1):
            if isinstance(result, DatasetProblem):
                problems.append(result)
                del images[path]
            else:
                sizes.append(result)
            if progress:
                progress(checked_count, len(image_refs))
    return sizes, problems


@dataclass(frozen=True)
class _Batch:
    """Files that are being verified.

    Attributes:
        paths: POSIX paths relative to the data set's folder.
        keys: of the cache, by file; None for a file that is not to be cached.
        cached_sizes: entries of the cache, by file; None for a file that is to be decoded.
        tasks_by_index: for each file that is to be decoded, its task and its position in the task's result.
    """

    paths: Sequence[str]
    keys: Sequence[bytes | None]
    cached_sizes: Sequence[tuple[int, int] | None]
    tasks_by_index: dict[int, tuple[Future[list[tuple[int, int] | ImageError]], int]]

    def cancel(self) -> None:
        """Let the files that no worker process has yet be."""
        for task, _ in self.tasks_by_index.values():
            task.cancel()


def _iter_results(
    base_folder: str, files: Sequence[tuple[str, int]], pool: ThreadPoolExecutor, cache: VerifiedCache | None
) -> Generator[tuple[int, int] | DatasetProblem, None, None]:
    """Yield the size or the problem of each file.

    However the generator ends, files still waiting are not decoded, and what was verified is cached.

    Args:
        base_folder: absolute folder.
        files: POSIX paths relative to it, and sizes in bytes.
        pool: threads that wait for worker processes.
        cache: images verified before.

    Yields:
        Width and height in pixels, or a problem, in the order of `files`.
    """
    batches: deque[_Batch] = deque()
    try:
        for start in range(0, len(files), _FILES_PER_BATCH):
            # Before the results of the last batch are awaited: the workers have enough to do while its are stored.
            batches.append(_begin_batch(base_folder, files[start : start + _FILES_PER_BATCH], pool, cache))
            if len(batches) > 1:
                yield from _finish_batch(batches.popleft(), cache)
        while batches:
            yield from _finish_batch(batches.popleft(), cache)
    finally:
        for batch in batches:
            batch.cancel()


def _begin_batch(
    base_folder: str, files: Sequence[tuple[str, int]], pool: ThreadPoolExecutor, cache: VerifiedCache | None
) -> _Batch:
    """Look files up in the cache, and let threads have the others verified.

    Args:
        base_folder: as for `_iter_results`, like the others.
        files: those of this batch.
        pool: threads.
        cache: images verified before.

    Returns:
        The batch, some of whose files may be verified already.
    """
    # Several times as fast as `Path`.
    full_paths = [os.path.join(base_folder, path) for path, _ in files]  # noqa: PTH118
    keys = cache.compute_keys(full_paths) if cache else [None] * len(files)
    cached_sizes = cache.get(keys) if cache else [None] * len(files)
    missing_indices = [index for index, size in enumerate(cached_sizes) if size is None]
    tasks = []
    for request_indices in _divide_requests(missing_indices, [size_bytes for _, size_bytes in files]):
        task = pool.submit(isolated.verify_images, [full_paths[index] for index in request_indices])
        tasks += [(task, position) for position in range(len(request_indices))]
    return _Batch([path for path, _ in files], keys, cached_sizes, dict(zip(missing_indices, tasks, strict=True)))


def _divide_requests(indices: Sequence[int], byte_counts: Sequence[int]) -> Iterator[list[int]]:
    """Divide files into requests to a worker process: many small ones, or a few large ones.

    Args:
        indices: of the files to verify.
        byte_counts: size of each file in bytes, by index.

    Yields:
        Indices of one request.
    """
    request_indices: list[int] = []
    request_bytes = 0
    for index in indices:
        is_full = len(request_indices) == _MAX_REQUEST_FILES or request_bytes + byte_counts[index] > _MAX_REQUEST_BYTES
        if request_indices and is_full:
            yield request_indices
            request_indices, request_bytes = [], 0
        request_indices.append(index)
        request_bytes += byte_counts[index]
    if request_indices:
        yield request_indices


def _finish_batch(
    batch: _Batch, cache: VerifiedCache | None
) -> Generator[tuple[int, int] | DatasetProblem, None, None]:
    """Yield the size or the problem of each file of a batch, and cache what was verified; see `_iter_results`."""
    new_entries: list[tuple[bytes, tuple[int, int]]] = []
    try:
        for index, (path, key, size) in enumerate(zip(batch.paths, batch.keys, batch.cached_sizes, strict=True)):
            if size is None:
                task, position = batch.tasks_by_index[index]
                result: tuple[int, int] | ImageError = task.result()[position]
                if key and (entry := _to_cache_entry(result)):
                    new_entries.append((key, entry))
            else:
                result = _from_cache_entry(size, path)
            yield make_problem(path, result) if isinstance(result, ImageError) else result
    finally:
        batch.cancel()
        if cache:
            cache.put(new_entries)


def _to_cache_entry(result: tuple[int, int] | ImageError) -> tuple[int, int] | None:
    """Return what the cache keeps of a result: a size, or (0, number of the code) for a file that ends a worker."""
    if not isinstance(result, ImageError):
        return result
    return (0, REMEMBERED_CODES.index(result.code)) if result.code in REMEMBERED_CODES else None


def _from_cache_entry(entry: tuple[int, int], path: str) -> tuple[int, int] | ImageError:
    """Return the result that `_to_cache_entry` had for the file at `path`."""
    width, code_number = entry
    return entry if width else make_failure(REMEMBERED_CODES[code_number], path)


def make_problem(path: str, error: ImageError) -> DatasetProblem:
    """Return the problem with a file, which names `path`, its path in the data set."""
    values = {name: value for name, value in error.values.items() if isinstance(value, (str, int)) and name != "file"}
    return DatasetProblem(path, error.code, values)
