"""Looking for a folder, a zip or a list: what the person typed, and what it could become."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.images import decode
from ftlab.data.sources import archive, locate
from ftlab.data.sources.listing import natural
from ftlab.ui.common.access import inside

SHOWN = 60
"""Sub-folders listed at a time; whoever has more types the beginning of the name."""
_LOOKED_AT = 400
"""Entries of a folder that are looked at to say whether it holds pictures."""


@dataclass(frozen=True)
class Folder:
    """One that can be opened.

    Attributes:
        path: absolute.
        pictures: `own` pictures lie in it, `classes`: they lie in its sub-folders, empty: none were seen. Of a file,
            what it is: `zip` or `list`.
    """

    path: Path
    pictures: str


@dataclass(frozen=True)
class Shelf:
    """What is to be chosen from.

    Attributes:
        here: the folder whose sub-folders these are.
        trail: the folders from the root down to `here`.
        folders: sub-folders by name, then zips and lists; those that begin with what was typed.
        more: how many were left out.
    """

    here: Path
    trail: tuple[Path, ...]
    folders: tuple[Folder, ...]
    more: int


def look(root: Path, typed: str) -> Shelf:
    """The shelf for what is typed so far: a folder's sub-folders, or those of its parent that begin like it.

    Hidden folders appear only when their dot is typed. Links that lead out of `root` are not listed.

    Raises:
        DataError: what is typed lies outside `root`.
    """
    wanted = inside(root, typed or str(root))
    whole = typed.endswith(("/", os.sep)) or wanted.is_dir()
    here, beginning = (wanted, "") if whole else (wanted.parent, wanted.name)
    while not here.is_dir() and here != root:
        here, beginning = here.parent, here.name
    folders, files = _entries(here)

    def offered(names: list[str]) -> list[Path]:
        begin = [name for name in names if name.lower().startswith(beginning.lower())]
        shown = [here / name for name in begin if beginning.startswith(".") or not name.startswith(".")]
        return [path for path in shown if _stays(root, path)]

    inner = offered(folders)
    all_of_it = [*((path, _pictures) for path in inner), *((path, _kind) for path in offered(files))]
    trail = [here, *here.parents]
    return Shelf(
        here,
        tuple(reversed(trail[: trail.index(root) + 1])) if root in trail else (here,),
        tuple(Folder(path, look_at(path)) for path, look_at in all_of_it[:SHOWN]),
        max(0, len(all_of_it) - SHOWN),
    )


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the sub-folders, and of the zips and lists."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif locate.is_file(Path(entry.path)):
                    files.append(entry.name)
    except OSError:
        return [], []
    return sorted(folders, key=natural), sorted(files, key=natural)


def _kind(file: Path) -> str:
    return "zip" if archive.is_archive(file) else "list"


def _stays(root: Path, path: Path) -> bool:
    try:
        inside(root, path)
    except DataError:
        return False
    return True


def _pictures(folder: Path) -> str:
    """A glance, not a scan: the first entries of the folder and of its first sub-folders."""
    own, below = _glance(folder)
    if own:
        return "own"
    for name in below[:3]:
        own, deeper = _glance(folder / name)
        if own or any(_glance(folder / name / inner)[0] for inner in deeper[:2]):
            return "classes"
    return ""


def _glance(folder: Path) -> tuple[bool, list[str]]:
    """Whether a picture is among the first entries, and the sub-folders among them."""
    below: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if os.path.splitext(entry.name)[1].lower() in decode.EXTENSIONS:
                    return True, below
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    below.append(entry.name)
    except OSError:
        return False, below
    return False, sorted(below)
