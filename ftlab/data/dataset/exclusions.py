"""Exclusion lists: images that the user leaves out of a data set without changing its files.

The page keeps each list in `FTLAB_HOME/exclusions` under the hash of its content. So a list never changes: the
command that names it always trains on the same images, and no user changes what another one left out. No torch.
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
"""Size of a list in bytes above which it is refused: some 100,000 paths."""
_MAX_SAVED_LISTS = 5000
"""Number of lists that are kept, the most recently used ones."""
_LIST_NAME_PATTERN = re.compile(r"[0-9a-f]{32}")
"""Names of lists come back from the browser: a pattern without separators keeps them inside the folder."""


def read_exclusions(file: Path | str) -> tuple[str, ...]:
    """Return the paths in an exclusion list.

    Args:
        file: text file with one path per line, relative to the root of the data set; "" stands for no list.

    Returns:
        The paths, each once, in the order of the file.

    Raises:
        DataError: the file cannot be read or is too large.
    """
    if not str(file):
        return ()
    path = user_dirs.expand_home(file)
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError("exclude.large", file=path, limit=MAX_LIST_BYTES // 1_000_000)
        # Not `splitlines`: names of files may contain other line separators, such as U+2028.
        text = file_io.read_regular_file(path).decode("utf-8-sig")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, ValueError) as cause:
        raise DataError("exclude.unreadable", file=path, cause=getattr(cause, "strerror", "") or cause) from cause
    # Only on Windows: on POSIX a backslash is a legal character in a name.
    paths = (line.replace("\\", "/") if os.name == "nt" else line for line in lines)
    return tuple(dict.fromkeys(path for path in paths if path.strip()))


def save_exclusions(paths: Iterable[str]) -> str:
    """Save a list of paths and return its name.

    Args:
        paths: relative to the root of the data set.

    Returns:
        The name by which `find_exclusion_list` finds the file; "" if there are no paths.

    Raises:
        DataError: the list is too long, or cannot be written.
    """
    content = "".join(f"{path}\n" for path in sorted(set(paths), key=natural_key)).encode("utf-8")
    if not content:
        return ""
    # Sorted content and a hash of it: the same exclusions are the same list, whoever made them.
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
    """Return the file of a saved list, or None if it does not exist (any more)."""
    file = _exclusions_folder() / f"{name}.txt"
    if not _LIST_NAME_PATTERN.fullmatch(name) or not file.is_file():
        return None
    # The modification time is that of the last use, by which `save_exclusions` decides what to delete. It may fail
    # without harm: the file may be another user's, the disk full.
    with suppress(OSError):
        os.utime(file)
    return file


def exclude_images(catalog: Catalog, paths: Iterable[str]) -> Catalog:
    """Return the catalog without some images, as a scan that excludes them gives it before the random split.

    `scan.resplit` of the result gives what that scan gives.

    Args:
        catalog: result of a scan.
        paths: relative to the root; paths that are not in the catalog are ignored.

    Returns:
        The catalog with the classes that still have images, labels renumbered.

    Raises:
        DataError: fewer than two classes are left to train on.
    """
    excluded_paths = set(paths)
    remaining_items = {
        split: [item for item in catalog.splits[split] if item.path not in excluded_paths] for split in SPLITS
    }
    # Images of a random split may be drawn for training again, so they count as training images.
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
    """Return the folder of the saved lists."""
    return user_dirs.get_ftlab_home() / "exclusions"
