"""Which of many files can be decoded: every one tried, cheaply, in threads. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.dataset.verified_cache import VerifiedCache
from ftlab.data.images import decode
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

_FILES_PER_BATCH = 2048
"""Files at a time, so that a large folder does not become a large queue."""
VerifyProgress = Callable[[int, int], None]
"""Told how many are done, and how many there are."""


def verify_images(
    root: Path,
    images_by_split: dict[str, ImagesByClass],
    workers: int | None = None,
    progress: VerifyProgress | None = None,
    cache: VerifiedCache | None = None,
) -> tuple[list[tuple[int, int]], list[DatasetProblem]]:
    """Take the pictures out of `images_by_split` that cannot be decoded.

    Args:
        root: what the paths in `images_by_split` are relative to.
        images_by_split: pictures by split; changed in place.
        workers: threads; None: one a core, at most 8.
        progress: called in this thread after each file. What it raises ends the work soon, and is raised.
        cache: what need not be tried, and where the others are put.

    Returns:
        Width and height of each that stays, and what is wrong with each that goes, both in the order of `images_by_split`.
    """
    base_folder = os.path.abspath(root)
    image_refs = [
        (images, path)
        for images_by_class in images_by_split.values()
        for images in images_by_class.values()
        for path in images
    ]
    sizes: list[tuple[int, int]] = []
    problems: list[DatasetProblem] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), "check") as pool:
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
    """What comes of each file. At the end, whenever that is, the rest is not tried, and what was is kept."""
    files = [os.path.join(base_folder, path) for path in paths]
    keys = cache.compute_keys(files) if cache else [None] * len(files)
    sizes = cache.get(keys) if cache else [None] * len(files)
    futures = {
        index: pool.submit(_verify_file, paths[index], files[index]) for index, size in enumerate(sizes) if size is None
    }
    new_entries: list[tuple[bytes, tuple[int, int]]] = []
    try:
        for key, (index, size) in zip(keys, enumerate(sizes), strict=True):
            result = size or futures.pop(index).result()
            if key and size is None and not isinstance(result, DatasetProblem):
                new_entries.append((key, result))
            yield result
    finally:
        for future in futures.values():
            future.cancel()
        if cache:
            cache.put(new_entries)


def _verify_file(path: str, file: str) -> tuple[int, int] | DatasetProblem:
    """What comes of a file; `path` as it is called in the folder."""
    try:
        return decode.verify_image(file)
    except ImageError as error:
        values = {name: value for name, value in error.values.items() if isinstance(value, (str, int))}
        return DatasetProblem(path, error.code, {name: values[name] for name in values if name != "file"})
