"""Verify in worker processes, cheaply, that each of many image files can be decoded. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.dataset.verified_cache import VerifiedCache
from ftlab.data.isolation import isolated
from ftlab.data.isolation.failed_files import REMEMBERED_CODES, make_failure
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

_FILES_PER_BATCH = 2048
"""Files that are queued at a time, so that a large folder does not become a large queue."""
_FILES_PER_REQUEST = 8
"""Files that a worker process verifies per request."""
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
    # Each thread waits for a worker process.
    with ThreadPoolExecutor(worker_count, "check") as pool:
        for start in range(0, len(image_refs), _FILES_PER_BATCH):
            batch = image_refs[start : start + _FILES_PER_BATCH]
            with closing(_iter_results(base_folder, [path for _, path in batch], pool, cache)) as results:
                for checked_count, ((images, path), result) in enumerate(zip(batch, results, strict=True), start + 1):
                    if isinstance(result, DatasetProblem):
                        problems.append(result)
                        del images[path]
                    else:
                        sizes.append(result)
                    if progress:
                        progress(checked_count, len(image_refs))
    return sizes, problems


def _iter_results(
    base_folder: str, paths: Sequence[str], pool: ThreadPoolExecutor, cache: VerifiedCache | None
) -> Generator[tuple[int, int] | DatasetProblem, None, None]:
    """Yield the size or the problem of each file.

    However the generator ends, files still waiting are not decoded, and what was verified is cached.

    Args:
        base_folder: absolute folder.
        paths: POSIX paths relative to it.
        pool: threads that wait for worker processes.
        cache: images verified before.

    Yields:
        Width and height in pixels, or a problem, in the order of `paths`.
    """
    files = [os.path.join(base_folder, path) for path in paths]  # noqa: PTH118 - several times as fast as `Path`
    keys = cache.compute_keys(files) if cache else [None] * len(files)
    cached_sizes = cache.get(keys) if cache else [None] * len(files)
    missing_indices = [index for index, size in enumerate(cached_sizes) if size is None]
    tasks = _submit_requests(pool, [files[index] for index in missing_indices])
    tasks_by_index = dict(zip(missing_indices, tasks, strict=True))
    new_entries: list[tuple[bytes, tuple[int, int]]] = []
    try:
        for index, (path, key, size) in enumerate(zip(paths, keys, cached_sizes, strict=True)):
            if size is None:
                task, position = tasks_by_index[index]
                result: tuple[int, int] | ImageError = task.result()[position]
                if key and (entry := _to_cache_entry(result)):
                    new_entries.append((key, entry))
            else:
                result = _from_cache_entry(size, path)
            yield _make_problem(path, result) if isinstance(result, ImageError) else result
    finally:
        for task, _ in tasks:
            task.cancel()
        if cache:
            cache.put(new_entries)


def _submit_requests(
    pool: ThreadPoolExecutor, files: Sequence[str]
) -> list[tuple[Future[list[tuple[int, int] | ImageError]], int]]:
    """Let threads have files verified, a few per request.

    Args:
        pool: the threads.
        files: paths.

    Returns:
        For each file its task, and its position in the task's result.
    """
    tasks = []
    for start in range(0, len(files), _FILES_PER_REQUEST):
        request_files = files[start : start + _FILES_PER_REQUEST]
        task = pool.submit(isolated.verify_images, request_files)
        tasks += [(task, position) for position in range(len(request_files))]
    return tasks


def _to_cache_entry(result: tuple[int, int] | ImageError) -> tuple[int, int] | None:
    """Return what the cache keeps of a result: a size, or (0, number of the code) for a file that ends a worker."""
    if not isinstance(result, ImageError):
        return result
    return (0, REMEMBERED_CODES.index(result.code)) if result.code in REMEMBERED_CODES else None


def _from_cache_entry(entry: tuple[int, int], path: str) -> tuple[int, int] | ImageError:
    """Return the result that `_to_cache_entry` had for the file at `path`."""
    width, code_number = entry
    return entry if width else make_failure(REMEMBERED_CODES[code_number], path)


def _make_problem(path: str, error: ImageError) -> DatasetProblem:
    """Return the problem with a file, which names `path`, its path in the data set."""
    values = {name: value for name, value in error.values.items() if isinstance(value, (str, int)) and name != "file"}
    return DatasetProblem(path, error.code, values)
