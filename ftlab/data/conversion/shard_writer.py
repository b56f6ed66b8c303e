"""Write a data set as tar shards in WebDataset's layout, the same bytes each time. No torch.

A sample has three members: `KEY.cls` (the label), `KEY.json` (class name, label and path of the image) and the image,
byte for byte. The order within a split is a hash of seed and path, so that neighbors in a shard are of all classes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.dataset.split import SPLITS
from ftlab.data.images.diagnosis import diagnose_error
from ftlab.data.shards.member_names import CLASS_EXTENSION, JSON_EXTENSION, KeyMaker, get_image_extension
from ftlab.data.shards.shard_index import INDEX_FILE_NAME, ShardEntry, ShardIndex, write_index
from ftlab.data.sources.listing import DatasetProblem

_END_BYTES = bytes(2 * tarfile.BLOCKSIZE)
"""End of a tar file: two blocks of zeros."""
_OWN_FILE = re.compile(rf"((train|val|test)-\d{{6}}\.tar|{re.escape(INDEX_FILE_NAME)})(\.\d+-\d+\.part)?")
"""Names of the files that this module writes, finished or not."""


@dataclass(frozen=True)
class ShardLimits:
    """Limits of a shard; the one that is reached first ends it.

    Attributes:
        images: number of images.
        max_bytes: size of the file; an image that is larger by itself has a shard of its own.
    """

    images: int = 1000
    max_bytes: int = 500_000_000


@dataclass(frozen=True)
class _EncodedSample:
    """A sample as it stands in a tar file.

    Attributes:
        chunks: headers, contents and padding, in order.
        size_bytes: of all chunks.
    """

    chunks: tuple[bytes, ...]
    size_bytes: int


def check_output(out: Path, *, overwrite: bool) -> None:
    """Check that shards may be written to a folder: it is missing or empty, or has only shards, to be overwritten.

    Args:
        out: the folder.
        overwrite: shards that are there may be replaced.

    Raises:
        DataError: it has other files, or is no folder that can be read.
    """
    try:
        names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    except OSError as cause:
        raise DataError("shards.write", folder=out, cause=cause.strerror or cause) from cause
    other_names = [name for name in names if not _OWN_FILE.fullmatch(name)]
    if other_names:
        raise DataError("shards.other_files", folder=out, name=other_names[0])
    if names and not overwrite:
        key = "shards.exists" if INDEX_FILE_NAME in names else "shards.unfinished"
        raise DataError(key, folder=out)


def write_shards(
    catalog: Catalog,
    out: Path,
    *,
    limits: ShardLimits = ShardLimits(),
    seed: int = 0,
    overwrite: bool = False,
    on_problem: Callable[[DatasetProblem], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ShardIndex:
    """Write the images of a data set as shards `SPLIT-NUMBER.tar`, then their index.

    If it fails or is interrupted, the shards that were written are removed. If the process is killed, they stay without
    an index.

    Args:
        catalog: of a scan.
        out: folder of the shards, created if it is missing.
        limits: of each shard.
        seed: of the order in each split.
        overwrite: remove the shards that are there before.
        on_problem: called for each image that cannot be read; it is left out.
        progress: called with the number of images done and of all images.

    Returns:
        The index.

    Raises:
        DataError: the folder is not empty, lies in the data set or cannot be written, or no image can be read.
    """
    check_output(out, overwrite=overwrite)
    if out.resolve().is_relative_to(catalog.root):
        raise DataError("shards.inside", folder=out, root=catalog.root)
    keys = KeyMaker()
    total_count = sum(len(items) for items in catalog.splits.values())
    done_counts = itertools.count(1)
    written_paths: list[Path] = []
    shards: dict[str, tuple[ShardEntry, ...]] = {}
    is_complete = False
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in _list_own_files(out):
            path.unlink()
        for split in SPLITS:
            samples = _iter_samples(
                catalog, split, seed, keys, on_problem, lambda: progress(next(done_counts), total_count)
            )
            shards[split] = tuple(_write_split(samples, out, split, limits, written_paths))
        if not written_paths:
            raise DataError("data.gone", folder=catalog.root)
        index = ShardIndex(catalog.classes, shards)
        write_index(out, index)
        is_complete = True
    except OSError as cause:  # only of writing: an image that cannot be read is a problem
        raise DataError("shards.write", folder=out, cause=cause.strerror or cause) from cause
    finally:
        if not is_complete:
            for path in written_paths:
                path.unlink(missing_ok=True)
    return index


def _list_own_files(out: Path) -> list[Path]:
    """Return the shards of an earlier command, finished or not, the index first: without it the others do not count."""
    paths = [path for path in out.iterdir() if _OWN_FILE.fullmatch(path.name)]
    return sorted(paths, key=lambda path: (path.name != INDEX_FILE_NAME, path.name))


def _write_split(
    samples: Iterator[_EncodedSample], out: Path, split: str, limits: ShardLimits, written_paths: list[Path]
) -> Iterator[ShardEntry]:
    """Write the shards of a split, each under a temporary name until it is complete.

    Args:
        samples: of the split; one is held at a time.
        out: folder of the shards.
        split: `train`, `val` or `test`.
        limits: of a shard.
        written_paths: is extended by each shard.

    Yields:
        The entry of each shard.
    """
    sample = next(samples, None)
    number = 0
    while sample is not None:
        path = out / f"{split}-{number:06d}.tar"
        sample_count = byte_count = 0
        written_paths.append(path)  # before it exists, so that an interruption right after the rename removes it too
        with file_io.atomic_write(path) as part_path, part_path.open("wb") as stream:
            while sample is not None and (not sample_count or _fits(sample, sample_count, byte_count, limits)):
                stream.writelines(sample.chunks)
                sample_count, byte_count = sample_count + 1, byte_count + sample.size_bytes
                sample = next(samples, None)
            stream.write(_END_BYTES)
            byte_count += len(_END_BYTES)
        yield ShardEntry(path.name, sample_count, byte_count)
        number += 1


def _fits(sample: _EncodedSample, sample_count: int, byte_count: int, limits: ShardLimits) -> bool:
    """Return whether a shard of so many samples and bytes has room for one more."""
    return sample_count < limits.images and byte_count + sample.size_bytes + len(_END_BYTES) <= limits.max_bytes


def _iter_samples(
    catalog: Catalog,
    split: str,
    seed: int,
    keys: KeyMaker,
    on_problem: Callable[[DatasetProblem], None],
    count_image: Callable[[], None],
) -> Iterator[_EncodedSample]:
    """Read the images of a split, in an order that seed and paths decide.

    Args:
        catalog: of the data set.
        split: `train`, `val` or `test`.
        seed: of the order.
        keys: makes the keys.
        on_problem: called for each image that cannot be read.
        count_image: called after each image.

    Yields:
        Each image that can be read, with its class.
    """
    ordered_items = sorted(
        catalog.splits[split], key=lambda item: hashlib.sha256(f"{seed}\0{item.path}".encode()).digest()
    )
    for item in ordered_items:
        try:
            content = file_io.read_regular_file(catalog.image_path(item))
        except OSError as cause:
            on_problem(DatasetProblem(item.path, *diagnose_error(cause, None, 0)))
        else:
            yield _encode_sample(keys.make_key(item.path), item, catalog.classes[item.label], content)
        count_image()


def _encode_sample(key: str, item: ImageItem, class_name: str, content: bytes) -> _EncodedSample:
    """Return the members of a sample.

    Args:
        key: of the sample.
        item: the image.
        class_name: its class.
        content: its bytes.
    """
    description = {"class": class_name, "label": item.label, "path": item.path}
    members = (
        (CLASS_EXTENSION, str(item.label).encode()),
        (JSON_EXTENSION, json.dumps(description, ensure_ascii=False).encode()),
        (get_image_extension(item.path), content),
    )
    chunks = tuple(chunk for extension, data in members for chunk in _encode_member(f"{key}.{extension}", data))
    return _EncodedSample(chunks, sum(map(len, chunks)))


def _encode_member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return header, content and padding of a member; owner, mode and time are those of no machine."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    # Long names and names that are not ASCII stand in a pax header, in UTF-8.
    header = info.tobuf(tarfile.PAX_FORMAT)
    return header, content, bytes(-len(content) % tarfile.BLOCKSIZE)
