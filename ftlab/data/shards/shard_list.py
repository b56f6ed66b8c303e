"""Which shards a folder, an address or a pattern of them names. No torch."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.shards.http_file import strip_secrets
from ftlab.data.shards.shard_files import is_url, open_shard
from ftlab.data.shards.shard_index import INDEX_FILE_NAME, ShardIndex, parse_index, read_index
from ftlab.data.sources.listing import SPLITS, natural_key

MAX_SHARDS = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)", re.ASCII)
_MAX_INDEX_BYTES = 256 << 20
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SPLIT_NAME = re.compile(rf"({'|'.join(sorted(_SPLIT_NAMES, reverse=True))})(?![a-z])", re.IGNORECASE)
"""Beginning of the name of a shard that belongs to a split."""


@dataclass(frozen=True)
class ShardList:
    """Shards to read.

    Attributes:
        source: what named them, without secrets, for messages.
        locations: paths or addresses, each once.
        sample_counts: samples of each shard by its index; None where there is no index.
        classes: names by label; empty where there is no index.
        repeated: names of shards that were named more than once.
    """

    source: str
    locations: tuple[str, ...]
    sample_counts: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def count_samples(self) -> int | None:
        """Return the number of samples by the index; None where there is none."""
        return None if self.sample_counts is None else sum(self.sample_counts)


def is_shard_source(source: str) -> bool:
    """Return whether a text names shards: an address, a pattern of tar files, or a folder that holds tar files only.

    Args:
        source: of a data set, as a user wrote it.
    """
    if is_url(source):
        return True
    folder = Path(source)
    try:
        if _BRACES.search(source) and source.endswith(".tar") and not folder.exists():
            return True
        if (folder / INDEX_FILE_NAME).is_file():
            return True
        names = [path.name for path in itertools.islice(folder.iterdir(), 100)] if folder.is_dir() else []
    except (OSError, ValueError):  # no name of a file, or not to be read: whoever reads the folder says what is wrong
        return False
    return bool(names) and all(name.endswith(".tar") for name in names)


def find_shards(source: str, split: str = "") -> ShardList:
    """Find the shards that a text names, without opening one.

    Args:
        source: a folder of shards, with an index or without; the address of one with an index; or a path or address
            with ranges, `train-{000000..000012}.tar`, or alternatives, `{a,b}.tar`.
        split: of a folder with an index: `train`, `val` or `test`; empty for all of them.

    Returns:
        The shards, in order.

    Raises:
        DataError: there is none, the index cannot be read, or the pattern is none.
    """
    if source.endswith(".tar"):
        return _remove_repeated(strip_secrets(source), list(_expand_braces(source)))
    if is_url(source):
        return _list_index(source, parse_index(_read_remote_index(source), strip_secrets(source)), split)
    folder = Path(source)
    index_file = folder / INDEX_FILE_NAME
    if index_file.is_file():
        return _list_index(source, read_index(folder), split)
    try:
        names = [path.name for path in folder.iterdir() if path.suffix == ".tar" and path.is_file()]
    except OSError as cause:
        raise DataError("data.unreadable", folder=folder, cause=cause.strerror or cause) from cause
    if split and any(name.startswith(f"{split}-") for name in names):
        names = [name for name in names if name.startswith(f"{split}-")]
    if not names:
        raise DataError("shards.none", folder=folder)
    return ShardList(source, tuple(str(folder / name) for name in sorted(names, key=natural_key)))


def group_by_split(shards: ShardList) -> dict[str, ShardList]:
    """Group shards by the splits that their names begin with.

    Args:
        shards: of a data set.

    Returns:
        Shards by `train`, `val` and `test`, as far as there are some. All of them are `train` where one is named
        otherwise, or none is named so: how they are divided is then for others to say.
    """
    matches = [_SPLIT_NAME.match(location.rpartition("/")[2]) for location in shards.locations]
    splits = [_SPLIT_NAMES[match[1].lower()] if match else "" for match in matches]
    if "" in splits or "train" not in splits:
        return {"train": shards}
    positions = {split: [at for at, name in enumerate(splits) if name == split] for split in SPLITS if split in splits}
    return {
        split: replace(
            shards,
            locations=tuple(shards.locations[at] for at in group),
            sample_counts=shards.sample_counts and tuple(shards.sample_counts[at] for at in group),
            repeated=shards.repeated if split == "train" else (),
        )
        for split, group in positions.items()
    }


def _list_index(source: str, index: ShardIndex, split: str) -> ShardList:
    """Return the shards of an index.

    Args:
        source: folder or address of the folder.
        index: its content.
        split: to list; empty for all.

    Returns:
        The shards.

    Raises:
        DataError: there are none of the split.
    """
    entries = [entry for name in SPLITS if split in ("", name) for entry in index.shards[name]]
    if not entries:
        raise DataError("shards.split", split=split, folder=strip_secrets(source))
    base = source.removesuffix(INDEX_FILE_NAME).rstrip("/")
    locations = tuple(f"{base}/{entry.file}" for entry in entries)
    return ShardList(strip_secrets(source), locations, tuple(entry.samples for entry in entries), tuple(index.classes))


def _read_remote_index(source: str) -> bytes:
    """Return the content of the index at an address, of a folder or of the index itself.

    Raises:
        DataError: it cannot be read.
    """
    url = source if source.endswith(INDEX_FILE_NAME) else f"{source.rstrip('/')}/{INDEX_FILE_NAME}"
    with open_shard(url) as stream:
        content = stream.read(_MAX_INDEX_BYTES + 1)
    if len(content) > _MAX_INDEX_BYTES:
        raise DataError("shards.index", file=strip_secrets(url))
    return content


def _remove_repeated(source: str, locations: list[str]) -> ShardList:
    """Return a list of shards in which each stands once."""
    counts = Counter(locations)
    repeated = (counts - Counter(counts.keys())).elements()
    return ShardList(source, tuple(counts), repeated=tuple(map(strip_secrets, repeated)))


def _expand_braces(pattern: str) -> Iterator[str]:
    """Expand the ranges and alternatives of a pattern, the last one fastest.

    Args:
        pattern: with any number of `{000..012}` and `{a,b}`.

    Yields:
        Each location.

    Raises:
        DataError: the braces hold something else, or name too many shards.
    """
    pieces = _BRACES.split(pattern)
    choices: list[list[str]] = []
    count = 1
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            choices.append([piece])
            continue
        bounds = _RANGE.fullmatch(piece)
        if bounds is None and "," not in piece:
            raise DataError("shards.pattern", source=strip_secrets(pattern), cause=json.dumps(piece))
        first, last = (int(bounds[1]), int(bounds[2])) if bounds else (0, piece.count(","))
        count *= max(last - first + 1, 0)
        if not 0 < count <= MAX_SHARDS:
            raise DataError("shards.pattern", source=strip_secrets(pattern), cause=f"{{{piece}}}: 1 … {MAX_SHARDS:,}")
        width = len(bounds[1]) if bounds else 0
        choices.append([f"{value:0{width}d}" for value in range(first, last + 1)] if bounds else piece.split(","))
    yield from map("".join, itertools.product(*choices))
