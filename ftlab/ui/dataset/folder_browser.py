"""Looking for a folder, a zip or a list: what the person typed, and what it could become."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.images import decode
from ftlab.data.sources import archive, locate
from ftlab.data.sources.listing import natural_key
from ftlab.ui.common.access import resolve_inside

MAX_LISTED_ENTRIES = 60
"""Sub-folders listed at a time; whoever has more types the beginning of the name."""
_MAX_PEEKED_ENTRIES = 400
"""Entries of a folder that are looked at to say whether it holds pictures."""


@dataclass(frozen=True)
class BrowserEntry:
    """One that can be opened.

    Attributes:
        path: absolute.
        content: `own` pictures lie in it, `classes`: they lie in its sub-folders, empty: none were seen. Of a file,
            what it is: `zip` or `list`.
    """

    path: Path
    content: str


@dataclass(frozen=True)
class BrowserListing:
    """What is to be chosen from.

    Attributes:
        folder: the folder whose sub-folders these are.
        ancestors: the folders from the root down to `folder`.
        entries: sub-folders by name, then zips and lists; those that begin with what was typed.
        hidden_count: how many were left out.
    """

    folder: Path
    ancestors: tuple[Path, ...]
    entries: tuple[BrowserEntry, ...]
    hidden_count: int


def list_folder(root: Path, typed_path: str) -> BrowserListing:
    """The shelf for what is typed so far: a folder's sub-folders, or those of its parent that begin like it.

    Hidden folders appear only when their dot is typed. Links that lead out of `root` are not listed.

    Raises:
        DataError: what is typed lies outside `root`.
    """
    target = resolve_inside(root, typed_path or str(root))
    is_folder = typed_path.endswith(("/", os.sep)) or target.is_dir()
    folder, prefix = (target, "") if is_folder else (target.parent, target.name)
    while not folder.is_dir() and folder != root:
        folder, prefix = folder.parent, folder.name
    folder_names, file_names = _list_entries(folder)

    def match_prefix(names: list[str]) -> list[Path]:
        matching = [name for name in names if name.lower().startswith(prefix.lower())]
        visible_paths = [folder / name for name in matching if prefix.startswith(".") or not name.startswith(".")]
        return [path for path in visible_paths if _is_inside(root, path)]

    folder_paths = match_prefix(folder_names)
    candidates = [
        *((path, _classify_folder) for path in folder_paths),
        *((path, _classify_file) for path in match_prefix(file_names)),
    ]
    ancestors = [folder, *folder.parents]
    return BrowserListing(
        folder,
        tuple(reversed(ancestors[: ancestors.index(root) + 1])) if root in ancestors else (folder,),
        tuple(BrowserEntry(path, classify(path)) for path, classify in candidates[:MAX_LISTED_ENTRIES]),
        max(0, len(candidates) - MAX_LISTED_ENTRIES),
    )


def _list_entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the sub-folders, and of the zips and lists."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif locate.is_dataset_file(Path(entry.path)):
                    files.append(entry.name)
    except OSError:
        return [], []
    return sorted(folders, key=natural_key), sorted(files, key=natural_key)


def _classify_file(file: Path) -> str:
    return "zip" if archive.is_archive(file) else "list"


def _is_inside(root: Path, path: Path) -> bool:
    try:
        resolve_inside(root, path)
    except DataError:
        return False
    return True


def _classify_folder(folder: Path) -> str:
    """A glance, not a scan: the first entries of the folder and of its first sub-folders."""
    has_images, subfolders = _peek_folder(folder)
    if has_images:
        return "own"
    for name in subfolders[:3]:
        has_images, inner_subfolders = _peek_folder(folder / name)
        if has_images or any(_peek_folder(folder / name / inner_name)[0] for inner_name in inner_subfolders[:2]):
            return "classes"
    return ""


def _peek_folder(folder: Path) -> tuple[bool, list[str]]:
    """Whether a picture is among the first entries, and the sub-folders among them."""
    subfolders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _MAX_PEEKED_ENTRIES):
                if os.path.splitext(entry.name)[1].lower() in decode.IMAGE_SUFFIXES:
                    return True, subfolders
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    subfolders.append(entry.name)
    except OSError:
        return False, subfolders
    return False, sorted(subfolders)
