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
from ftlab.data.dataset.catalog import Catalog, Item
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources.listing import natural

LIMIT = 8_000_000
"""Bytes of a list."""
_KEPT = 5000
"""Lists that are kept, those of most recent use."""
_NAME = re.compile(r"[0-9a-f]{32}")


def read(file: Path | str) -> tuple[str, ...]:
    """The paths in a list, one a line, relative to the folder of pictures; of no list ("") none.

    Raises:
        DataError: it cannot be read.
    """
    if not str(file):
        return ()
    path = Path(file).expanduser()
    try:
        if path.stat().st_size > LIMIT:
            raise DataError("exclude.large", file=path, limit=LIMIT // 1_000_000)
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as cause:
        raise DataError("exclude.unreadable", file=path, cause=getattr(cause, "strerror", "") or cause) from cause
    paths = (line.replace("\\", "/") if os.name == "nt" else line for line in lines)
    return tuple(dict.fromkeys(path for path in paths if path.strip()))


def keep(paths: Iterable[str]) -> str:
    """Keep a list; the name by which `find` gives its file. No paths, no list: "".

    Raises:
        DataError: it is too long, or cannot be written.
    """
    text = "".join(f"{path}\n" for path in sorted(set(paths), key=natural)).encode("utf-8")
    if not text:
        return ""
    name = hashlib.sha256(text).hexdigest()[:32]
    file = _folder() / f"{name}.txt"
    if len(text) > LIMIT:
        raise DataError("exclude.large", file=file, limit=LIMIT // 1_000_000)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_io.fresh(file) as part:
            part.write_bytes(text)
        for old in sorted(_folder().glob("*.txt"), key=lambda one: one.stat().st_mtime, reverse=True)[_KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as cause:
        raise DataError("exclude.write", folder=_folder(), cause=cause.strerror or cause) from cause
    return name


def find(name: str) -> Path | None:
    """The file of a list that was kept, None where there is none (any more)."""
    file = _folder() / f"{name}.txt"
    if not _NAME.fullmatch(name) or not file.is_file():
        return None
    with suppress(OSError):  # another person's, or on a full disk: it is only the time of its last use
        os.utime(file)
    return file


def without(catalog: Catalog, paths: Iterable[str]) -> Catalog:
    """The catalogue that a scan would give that leaves these paths out, but for the dealing: see `deal_again`.

    Raises:
        DataError: fewer than two classes are left to train on.
    """
    gone = set(paths)
    kept = {split: [item for item in catalog.splits[split] if item.path not in gone] for split in SPLITS}
    learnt = {item.label for split in SPLITS if split in ("train", *catalog.dealt) for item in kept[split]}
    if len(learnt) < 2:
        raise DataError("exclude.classes")
    names = [label for label in range(len(catalog.classes)) if label in learnt]
    new = {label: place for place, label in enumerate(names)}
    splits = {
        split: tuple(Item(item.path, new[item.label], item.size) for item in items if item.label in new)
        for split, items in kept.items()
    }
    there = {item.path for items in catalog.splits.values() for item in items}
    return replace(
        catalog,
        classes=tuple(catalog.classes[label] for label in names),
        splits=splits,
        bytes=sum(item.size for items in splits.values() for item in items),
        excluded=tuple(sorted(gone & there, key=natural)),
    )


def _folder() -> Path:
    return user_dirs.home() / "exclusions"
