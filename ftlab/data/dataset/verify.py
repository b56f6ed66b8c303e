"""Verify in threads, cheaply, that each of many image files can be decoded. No torch."""

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
"""Files that are queued at a time, so that a large folder does not become a large queue."""
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
        workers: number of threads; None: one per core, at most 8.
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
    # Threads suffice: Pillow's decoders release the GIL.
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
    """Yield the size or the problem of each file.

    However the generator ends, files still waiting are not decoded, and what was verified is cached.

    Args:
        base_folder: absolute folder.
        paths: POSIX paths relative to it.
        pool: threads that decode.
        cache: images verified before.

    Yields:
        Width and height in pixels, or a problem, in the order of `paths`.
    """
    files = [os.path.join(base_folder, path) for path in paths]  # noqa: PTH118 - several times as fast as `Path`
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
    """Return the size of an image file, or the problem with it, which names `path`, its path in the data set."""
    try:
        return decode.verify_image(file)
    except ImageError as error:
        values = {name: value for name, value in error.values.items() if isinstance(value, (str, int))}
        return DatasetProblem(path, error.code, {name: values[name] for name in values if name != "file"})
