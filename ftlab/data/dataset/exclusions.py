"""Pictures that a person leaves out of a data set, without touching it: a list of paths, and what is then left.

The page keeps each list in `FTLAB_HOME/exclusions` under the hash of what stands in it. So a list never changes: the
command that names it trains on the same pictures for ever, and nobody changes what another one left out. No torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ftlab.core import file_io, user_dirs
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources.listing import natural_key

MAX_LIST_BYTES = 8_000_000
"""Bytes of a list."""
_MAX_SAVED_LISTS = 5000
"""Lists that are kept, those of most recent use."""
_LIST_NAME_PATTERN = re.compile(r"[0-9a-f]{32}")


def read_exclusions(file: Path | str) -> tuple[str, ...]:
    """The paths in a list, one a line, relative to the folder of pictures; of no list ("") none.

    Raises:
        DataError: it cannot be read.
    """
    if not str(file):
        return ()
    path = Path(file).expanduser()
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError("exclude.large", file=path, limit=MAX_LIST_BYTES // 1_000_000)
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as cause:
        raise DataError("exclude.unreadable", file=path, cause=getattr(cause, "strerror", "") or cause) from cause
    paths = (line.replace("\\", "/") if os.name == "nt" else line for line in lines)
    return tuple(dict.fromkeys(path for path in paths if path.strip()))


def save_exclusions(paths: Iterable[str]) -> str:
    """Keep a list; the name by which `find_exclusion_list` gives its file. No paths, no list: "".

    Raises:
        DataError: it is too long, or cannot be written.
    """
    content = "".join(f"{path}\n" for path in sorted(set(paths), key=natural_key)).encode("utf-8")
    if not content:
        return ""
    name = hashlib.sha256(content).hexdigest()[:32]
    file = _exclusions_folder() / f"{name}.txt"
    if len(content) > MAX_LIST_BYTES:
        raise DataError("exclude.large", file=file, limit=MAX_LIST_BYTES // 1_000_000)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_io.atomic_write(file) as partial_file:
            partial_file.write_bytes(content)
        for old_file in sorted(
            _exclusions_folder().glob("*.txt"), key=lambda list_file: list_file.stat().st_mtime, reverse=True
        )[_MAX_SAVED_LISTS:]:
            old_file.unlink(missing_ok=True)
    except OSError as cause:
        raise DataError("exclude.write", folder=_exclusions_folder(), cause=cause.strerror or cause) from cause
    return name


def find_exclusion_list(name: str) -> Path | None:
    """The file of a list that was kept, None where there is none (any more)."""
    file = _exclusions_folder() / f"{name}.txt"
    if not _LIST_NAME_PATTERN.fullmatch(name) or not file.is_file():
        return None
    with suppress(OSError):  # another person's, or on a full disk: it is only the time of its last use
        os.utime(file)
    return file


def exclude_images(catalog: Catalog, paths: Iterable[str]) -> Catalog:
    """The catalogue that a scan would give that leaves these paths out, but for the dealing: see `deal_again`.

    Raises:
        DataError: fewer than two classes are left to train on.
    """
    excluded_paths = set(paths)
    remaining_items = {
        split: [item for item in catalog.splits[split] if item.path not in excluded_paths] for split in SPLITS
    }
    trained_labels = {
        item.label for split in SPLITS if split in ("train", *catalog.random_splits) for item in remaining_items[split]
    }
    if len(trained_labels) < 2:
        raise DataError("exclude.classes")
    remaining_labels = [label for label in range(len(catalog.classes)) if label in trained_labels]
    new_labels = {label: index for index, label in enumerate(remaining_labels)}
    splits = {
        split: tuple(
            ImageItem(item.path, new_labels[item.label], item.size_bytes) for item in items if item.label in new_labels
        )
        for split, items in remaining_items.items()
    }
    known_paths = {item.path for items in catalog.splits.values() for item in items}
    return replace(
        catalog,
        classes=tuple(catalog.classes[label] for label in remaining_labels),
        splits=splits,
        total_bytes=sum(item.size_bytes for items in splits.values() for item in items),
        excluded_paths=tuple(sorted(excluded_paths & known_paths, key=natural_key)),
    )


def _exclusions_folder() -> Path:
    return user_dirs.get_ftlab_home() / "exclusions"
