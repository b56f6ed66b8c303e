"""Folder browser: sub-folders, zips and lists that a typed path could become."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.images import decode
from ftlab.data.sources import archive, locate
from ftlab.data.sources.file_suffixes import get_suffix
from ftlab.data.sources.listing import LOOSE_MANIFEST_SUFFIXES, natural_key
from ftlab.server.paths import resolve_inside

MAX_LISTED_ENTRIES = 60
"""Entries listed at a time; of more, typing the beginning of a name shows the others."""
_MAX_PEEKED_ENTRIES = 400
"""Entries of a folder that are checked to find out whether it holds images."""


@dataclass(frozen=True)
class BrowserEntry:
    """A folder or file that can be chosen.

    Attributes:
        path: absolute.
        content: of a folder, `own` (images lie in it), `classes` (images lie in its sub-folders) or empty (none seen);
            of a file, `zip` or `list`.
    """

    path: Path
    content: str


@dataclass(frozen=True)
class BrowserListing:
    """Choices for a typed path.

    Attributes:
        folder: the folder whose entries are listed.
        ancestors: the folders from the root down to `folder`.
        entries: sub-folders by name, then zips and lists; those that begin with what was typed.
        hidden_count: number of entries beyond `MAX_LISTED_ENTRIES`.
    """

    folder: Path
    ancestors: tuple[Path, ...]
    entries: tuple[BrowserEntry, ...]
    hidden_count: int


def list_folder(root: Path, typed_path: str) -> BrowserListing:
    """List the entries of a folder, or those of its parent that begin with what is typed.

    Hidden folders appear only when their dot is typed. Symlinks that lead out of `root` are not listed. Propagates
    `DataError` where the typed path lies outside `root`.

    Args:
        root: folder below which entries are listed, resolved.
        typed_path: what is typed so far.

    Returns:
        The listing.
    """
    target = resolve_inside(root, typed_path or str(root))
    is_folder = typed_path.endswith(("/", os.sep)) or target.is_dir()
    folder, prefix = (target, "") if is_folder else (target.parent, target.name)
    # Of a path with a typing error, the last part that exists; its next part filters the entries.
    while not folder.is_dir() and folder != root:
        folder, prefix = folder.parent, folder.name
    folder_names, file_names = _list_entries(folder)

    def match_prefix(names: list[str]) -> list[Path]:
        matching = [name for name in names if name.lower().startswith(prefix.lower())]
        visible_paths = [folder / name for name in matching if prefix.startswith(".") or not name.startswith(".")]
        return [path for path in visible_paths if _is_inside(root, path)]

    folder_paths = match_prefix(folder_names)
    candidates = [
        # Classified only below, where the entry is listed: it takes several system calls a folder.
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
    """Return the names of the sub-folders, and of the zips and lists, in natural order."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif _is_listed(Path(entry.path)):
                    files.append(entry.name)
    except OSError:
        return [], []
    return sorted(folders, key=natural_key), sorted(files, key=natural_key)


def _is_listed(file: Path) -> bool:
    """Return whether a file is an archive or a list; most texts and JSON files are none, and their path is typed."""
    return get_suffix(file.name) not in LOOSE_MANIFEST_SUFFIXES and locate.is_dataset_file(file)


def _classify_file(file: Path) -> str:
    return "zip" if archive.is_archive(file) else "list"


def _is_inside(root: Path, path: Path) -> bool:
    try:
        resolve_inside(root, path)
    except DataError:
        return False
    return True


def _classify_folder(folder: Path) -> str:
    """Return `content` of a folder from a glance at its first entries and first sub-folders, not a scan."""
    has_images, subfolders = _peek_folder(folder)
    subfolders = [name for name in subfolders if _is_inside(folder, folder / name)]
    if has_images:
        return "own"
    for name in subfolders[:3]:
        has_images, inner_subfolders = _peek_folder(folder / name)
        if has_images or any(_peek_folder(folder / name / inner_name)[0] for inner_name in inner_subfolders[:2]):
            return "classes"
    return ""


def _peek_folder(folder: Path) -> tuple[bool, list[str]]:
    """Return whether an image is among the first entries of a folder, and the sub-folders before it."""
    subfolders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _MAX_PEEKED_ENTRIES):
                # Not Path.suffix: this runs for up to 400 entries of each of 60 folders while the person types.
                if os.path.splitext(entry.name)[1].lower() in decode.IMAGE_SUFFIXES:  # noqa: PTH122
                    return True, subfolders
                # Symlinks are not followed: they may lead out of the root, or in a circle.
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    subfolders.append(entry.name)
    except OSError:
        return False, subfolders
    return False, sorted(subfolders)
