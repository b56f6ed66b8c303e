"""Shards written by `tarfile` alone, and what a reader makes of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ftlab.data.shards.reader import iter_shard
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample

Members = Iterable[tuple[str, bytes]]


def members(key: str, label: int = 0, image: bytes = b"image") -> list[tuple[str, bytes]]:
    """The members of one sample: a class and an image."""
    return [(f"{key}.cls", str(label).encode()), (f"{key}.jpg", image)]


def write_tar(file: Path, contents: Members, tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(file, "w", format=tar_format) as archive:
        for name, content in contents:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def read_samples(file: Path, start_offset: int = 0) -> list[ShardSample]:
    return [result for result in iter_shard(file, start_offset=start_offset) if isinstance(result, ShardSample)]


def find_problems(file: Path, classes: tuple[str, ...] = ()) -> list[str]:
    return [result.code for result in iter_shard(file, classes=classes) if isinstance(result, ShardProblem)]
