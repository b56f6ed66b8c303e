"""Find class folders that a second download or a copy made: `cats (1)`, `cats - Copy`, `cats copy`. No torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from ftlab.data.folders.folder_reading import (
    AmbiguousFoldersError,
    ClassFolder,
    FolderReading,
    fold_name,
    holds_same_files,
)
from ftlab.data.folders.folder_tree import FolderTree, get_name
from ftlab.data.sources.listing import DatasetProblem

_COPY_WORDS = "copy|kopie|copie|copia|cópia|kopia|kópia|kopi|kopio|копия|копія|副本|复件|複製|コピー|복사본"
_COPY_NAME = re.compile(
    rf"(?P<name>.*[^\s_–—-])\s*"
    rf"(?:\(\d+\)|\((?:another |\d+(?:st|nd|rd|th) )?(?:{_COPY_WORDS})(?: \d+)?\)"
    rf"|[\s_–—-](?:[\s_–—-]*)(?:{_COPY_WORDS})(?:\s*\(?\d+\)?)?)"
    rf"|(?:copy of|kopie von|copie de|copia de|cópia de) (?P<source>.+)",
    re.IGNORECASE,
)
"""What browsers, Windows, macOS and Linux add to the name of a second copy."""


def leave_out_doubled(tree: FolderTree, reading: FolderReading) -> None:
    """Leave copies of class folders out of a reading, and report them.

    Args:
        tree: the folders.
        reading: changed in place.

    Raises:
        AmbiguousFoldersError: a folder is named like the copy of another one, but holds other files: nobody can tell
            whether it is the rest of that class or a class of its own.
    """
    siblings: dict[tuple[str, str], dict[str, ClassFolder]] = defaultdict(dict)
    for folder in reading.class_folders:
        if tree.has_images(folder.path):
            siblings[folder.split, folder.path.rpartition("/")[0]][fold_name(get_name(folder.path))] = folder
    copies: list[ClassFolder] = []
    for (_, parent), folders in siblings.items():
        for name, folder in folders.items():
            original = _find_original(name, folders)
            if original is None:
                continue
            names = [get_name(original.path), get_name(folder.path)]
            if not holds_same_files(tree, folder.path, original.path):
                raise AmbiguousFoldersError("doubled", tree.root, parent, names)
            copies.append(folder)
            reading.problems.append(DatasetProblem(folder.path, "copy", {"names": names[0]}))
    reading.class_folders = [folder for folder in reading.class_folders if folder not in copies]


def _find_original(name: str, folders: Mapping[str, ClassFolder]) -> ClassFolder | None:
    """Return the folder that a folder is a copy of, or a copy of a copy (`cats - Copy (2)`); None if there is none.

    Args:
        name: as `fold_name` gives it.
        folders: beside it, by such names.
    """
    original = None
    while name := get_original_name(name):
        original = folders.get(name, original)
    return original


def get_original_name(name: str) -> str:
    """Return the name of the folder that a folder is a copy of by its name; "" for another name."""
    match = _COPY_NAME.fullmatch(name)
    return (match["name"] or match["source"]) if match else ""
