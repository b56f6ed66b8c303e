"""The index of a folder of shards, `shards.json`: class names, and samples and bytes of each shard. No torch.

It is written last: a folder without it holds shards of a command that did not end, which do not count.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftlab.core import file_io, json_fields
from ftlab.core.errors import DataError
from ftlab.data.sources.listing import SPLITS

INDEX_FILE_NAME = "shards.json"
_FORMAT_NAME, _FORMAT_VERSION = "ftlab-shards", 1


@dataclass(frozen=True)
class ShardEntry:
    """One shard.

    Attributes:
        file: name in the folder of the index.
        samples: number of samples.
        bytes: size of the file.
    """

    file: str
    samples: int
    bytes: int


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a data set.

    Attributes:
        classes: names; a label is an index into them.
        shards: by `train`, `val`, `test`, in the order of their numbers.
    """

    classes: tuple[str, ...]
    shards: dict[str, tuple[ShardEntry, ...]]

    def count_samples(self, split: str) -> int:
        """Return the number of samples of a split."""
        return sum(entry.samples for entry in self.shards[split])

    def to_json(self) -> dict[str, Any]:
        """Return the content of the index file."""
        return {
            "format": _FORMAT_NAME,
            "version": _FORMAT_VERSION,
            "classes": list(self.classes),
            "splits": {split: [asdict(entry) for entry in entries] for split, entries in self.shards.items()},
        }


def write_index(folder: Path, index: ShardIndex) -> None:
    """Write the index of a folder atomically; an `OSError` says that it cannot be written."""
    with file_io.atomic_write(folder / INDEX_FILE_NAME) as part_path:
        part_path.write_text(json.dumps(index.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_index(folder: Path) -> ShardIndex:
    """Read the index of a folder.

    Args:
        folder: with the shards.

    Returns:
        The index.

    Raises:
        DataError: there is no index, or it is damaged or of a newer version.
    """
    file = folder / INDEX_FILE_NAME
    try:
        content = file_io.read_regular_file(file)
    except FileNotFoundError as cause:
        raise DataError("shards.no_index", folder=folder, name=INDEX_FILE_NAME) from cause
    except OSError as cause:
        raise DataError("data.unreadable", folder=file, cause=cause.strerror or cause) from cause
    return parse_index(content, str(file))


def parse_index(content: bytes, file: str) -> ShardIndex:
    """Parse the content of an index.

    Args:
        content: of the file.
        file: its name, for errors.

    Returns:
        The index.

    Raises:
        DataError: it is damaged or of a newer version.
    """
    try:
        values = json_fields.parse_json(content)
        if not isinstance(values, dict) or (values.get("format"), values.get("version")) != (
            _FORMAT_NAME,
            _FORMAT_VERSION,
        ):
            raise DataError("shards.index_version", file=file)
        shards = {split: _parse_entries(values["splits"][split]) for split in SPLITS}
        return ShardIndex(_parse_classes(values["classes"]), shards)
    except (ValueError, TypeError, KeyError) as cause:
        raise DataError("shards.index", file=file) from cause


def _parse_classes(values: Any) -> tuple[str, ...]:
    """Return the names of the classes.

    Args:
        values: from the index file.

    Returns:
        The names.

    Raises:
        TypeError: the values are no list of texts.
    """
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise TypeError("no list of names")
    return tuple(values)


def _parse_entries(values: Any) -> tuple[ShardEntry, ...]:
    """Return the entries of a split.

    Args:
        values: list of objects from the index file.

    Returns:
        The entries.

    Raises:
        TypeError: the values are of other types, or a file is not in the folder of the index.
    """
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise TypeError("no list of shards")
    entries = tuple(json_fields.build_dataclass(ShardEntry, value) for value in values)
    if not all(entry.file and Path(entry.file).name == entry.file for entry in entries):
        raise TypeError("a shard outside the folder")
    return entries
