"""Scan tar shards in one pass: which images, classes and splits they hold, and whether each image can be decoded.

An image has a path below its shard, see `tar_members`, so that whatever reads the images of a folder reads these too.
Memory: a few encoded images, and of every sample its path, size and hash. No torch.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.dataset.catalog import Reading
from ftlab.data.dataset.layout import DatasetLayout
from ftlab.data.dataset.verify import VerifyProgress, make_problem
from ftlab.data.images.tar_members import TarMember
from ftlab.data.isolation import isolated
from ftlab.data.shards.seen_samples import SeenSamples
from ftlab.data.shards.shard_files import is_url
from ftlab.data.shards.shard_list import ShardList, find_shards, group_by_split
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample
from ftlab.data.shards.stream import ShardStream
from ftlab.data.sources.listing import DatasetProblem

_SAMPLES_PER_REQUEST = 16
"""Samples that a worker process verifies at a time."""
_MAX_REPORTED_REPEATS = 20
"""Samples that were there before, and are reported one by one; a copied shard has a thousand."""


@dataclass
class ShardScan:
    """What shards hold.

    Attributes:
        root: folder of the shards; that of remote ones is their address, whose `//` a path cannot keep.
        layout: images by split and class.
        sizes: width and height in pixels of each image; none where they were not verified.
        content_hashes: SHA-256 of each image file, by path.
    """

    root: Path
    layout: DatasetLayout
    sizes: list[tuple[int, int]] = field(default_factory=list)
    content_hashes: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _FoundSample:
    """A sample of a split, with the path of its image below the root."""

    split: str
    path: str
    sample: ShardSample


def scan_shards(
    source: str, *, check: bool = True, workers: int | None = None, progress: VerifyProgress | None = None
) -> ShardScan:
    """Read all shards once.

    A source without shards, and one that cannot be read, raises a `DataError`.

    Args:
        source: names the shards, see `find_shards`.
        check: verify that each image can be decoded, in worker processes.
        workers: number of them; None: one per core, at most 8.
        progress: called with the number of samples done and, where an index tells it, of all.

    Returns:
        The images.
    """
    shards = find_shards(source)
    lists_by_split = group_by_split(shards)
    layout = _make_layout(lists_by_split)
    scan = ShardScan(_find_root(shards.locations), layout)
    found_samples = _iter_samples(lists_by_split, scan)
    total_count = shards.count_samples() or 0
    worker_count = min(workers or isolated.MAX_WORKERS, isolated.get_shared_pool().max_workers)
    results = _verify_samples(found_samples, worker_count) if check else ((found, None) for found in found_samples)
    for done_count, (found, result) in enumerate(results, start=1):
        if isinstance(result, ImageError):
            layout.problems.append(make_problem(found.path, result))
        else:
            _add_image(scan, found)
            scan.sizes += [result] if result else []
        if progress:
            progress(done_count, max(total_count, done_count))
    return scan


def _make_layout(lists_by_split: dict[str, ShardList]) -> DatasetLayout:
    """Return a layout without images: splits as the names of the shards say, else one that is divided at random."""
    name = "split" if "val" in lists_by_split else "train_test" if "test" in lists_by_split else "flat"
    classes = next(iter(lists_by_split.values())).classes
    layout = DatasetLayout(name, {split: f"{split}-*.tar" for split in lists_by_split}, Reading("shards"))
    layout.images_by_split = {split: {class_name: {} for class_name in classes} for split in lists_by_split}
    for split in lists_by_split:
        layout.class_locations |= {(split, class_name): f"{split}: {class_name}" for class_name in classes}
    return layout


def _find_root(locations: tuple[str, ...]) -> Path:
    """Return the folder, or the beginning of the address, that all shards have in common."""
    if is_url(locations[0]):
        return Path(posixpath.commonpath([Path(location).parent.as_posix() for location in locations]))
    folders = [str(Path(location).resolve().parent) for location in locations]
    return Path(os.path.commonpath(folders))


def _iter_samples(lists_by_split: dict[str, ShardList], scan: ShardScan) -> Iterator[_FoundSample]:
    """Read the samples of all splits in order.

    Args:
        lists_by_split: the shards.
        scan: its problems are extended.

    Yields:
        Each sample that was not there before.
    """
    seen_samples, repeat_count = SeenSamples(), 0
    for split, shards in lists_by_split.items():
        names = [_make_relative(location, scan.root) for location in shards.locations]
        stream = ShardStream(shards, on_problem=partial(_add_problem, scan))
        for sample in stream:
            shard_name = names[stream.position.shard]
            path = TarMember(shard_name, sample.image_offset, len(sample.image), sample.name).make_path()
            if seen_samples.add(sample):
                yield _FoundSample(split, path, sample)
                continue
            repeat_count += 1
            if repeat_count <= _MAX_REPORTED_REPEATS:
                scan.layout.problems.append(DatasetProblem(path, "shard_repeated_elsewhere", {"key": sample.key}))
    if repeat_count > _MAX_REPORTED_REPEATS:
        values: dict[str, str | int] = {"count": repeat_count - _MAX_REPORTED_REPEATS}
        scan.layout.problems.append(DatasetProblem(".", "shard_more_repeated", values))


def _make_relative(location: str, root: Path) -> str:
    """Return the name of a shard below the root."""
    if is_url(location):
        return posixpath.relpath(Path(location).as_posix(), root.as_posix())
    return Path(location).resolve().relative_to(root).as_posix()


def _add_problem(scan: ShardScan, problem: ShardProblem) -> None:
    """Add what a shard has that cannot be used to the problems, with its position in bytes."""
    file = f"{problem.file}/{problem.offset}" if problem.offset else problem.file
    scan.layout.problems.append(DatasetProblem(file, problem.code, problem.values))


def _add_image(scan: ShardScan, found: _FoundSample) -> None:
    """Add an image to its split and class."""
    sample = found.sample
    class_name = sample.class_name if sample.class_name is not None else str(sample.label)
    scan.layout.images_by_split[found.split].setdefault(class_name, {})[found.path] = len(sample.image)
    scan.layout.class_locations.setdefault((found.split, class_name), f"{found.split}: {class_name}")
    scan.content_hashes[found.path] = hashlib.sha256(sample.image).digest()


def _verify_samples(
    found_samples: Iterator[_FoundSample], worker_count: int
) -> Iterator[tuple[_FoundSample, tuple[int, int] | ImageError]]:
    """Verify samples in worker processes, a few requests ahead.

    Args:
        found_samples: to verify.
        worker_count: number of processes.

    Yields:
        Each sample with its width and height in pixels, or its error, in order.
    """
    pool_of_processes = isolated.get_shared_pool()
    pending: deque[tuple[list[_FoundSample], Future[list[tuple[int, int] | ImageError]]]] = deque()
    # Each thread waits for a worker process.
    with ThreadPoolExecutor(worker_count, "check") as threads:
        try:
            is_last = False
            while not is_last or pending:
                while not is_last and len(pending) < 2 * worker_count:
                    chunk = list(itertools.islice(found_samples, _SAMPLES_PER_REQUEST))
                    is_last = not chunk
                    if chunk:
                        streams = [found.sample.open_image() for found in chunk]
                        decode = partial(pool_of_processes.decode, "verify_image", streams, group_answers=True)
                        pending.append((chunk, threads.submit(decode)))
                if pending:
                    finished, task = pending.popleft()
                    yield from zip(finished, task.result(), strict=True)
        finally:  # also if nobody wants the rest
            for _, task in pending:
                task.cancel()
