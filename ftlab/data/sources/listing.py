"""What lies in a folder of pictures: class folders, pictures, and what is in the way. Opens no file. No torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import Amiss, DataError
from ftlab.data.images.decode import EXTENSIONS
from ftlab.data.images.diagnosis import FOREIGN

LISTS = frozenset((".csv", ".tsv", ".jsonl", ".ndjson"))
"""Names that lists of pictures and labels carry, lower case."""

_IGNORED = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"))

Pictures = dict[str, dict[str, int]]
"""Class -> path relative to the root -> bytes."""


@dataclass(frozen=True)
class Problem(Amiss):
    """Something in the folder that is not used, or not as the person may think.

    Attributes:
        file: posix path relative to the catalog's root, of a file or a folder; or a class of a list.
        code: `problem.<code>` and `remedy.<code>` in the words.
        values: what the sentences name; plain JSON. `line`, from 1: where a list says so.
    """

    file: str
    code: str
    values: dict[str, str | int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The file as a person reads it, in one line, with the line of the list."""
        file, line = messages.one_line(self.file), self.values.get("line")
        return messages.text("problem_at", file=file, line=line) if line else file

    def to_json(self) -> dict[str, str | int]:
        """`file`, `problem` and `remedy`, for people; and `line` where there is one."""
        line = {"line": self.values["line"]} if "line" in self.values else {}
        return {"file": self.file, **line, "problem": self.problem, "remedy": self.remedy}


@dataclass
class Folder:
    """One folder's own entries, sorted by name; hidden ones and what operating systems leave behind are not there.

    Attributes:
        path: posix path relative to the root; "" is the root.
        folders: names of sub-folders.
        pictures: names of files with a picture's extension, and their sizes in bytes.
        lists: names of files that may list pictures and labels.
        problems: entries that are named and skipped.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def ignored(name: str) -> bool:
    """Whether an entry is hidden or something that operating systems leave behind."""
    return name.startswith(".") or name.casefold() in _IGNORED


def natural(name: str) -> tuple[list[str | int], str]:
    """Sorting key: numbers by value, letters regardless of case, the bare name as the last word."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def join(folder: str, name: str) -> str:
    """A posix path below the root; the root itself is ""."""
    return f"{folder}/{name}" if folder else name


def top(folder: Path | str) -> Path:
    """The folder where the layout begins: links resolved, and a lone wrapping folder, as unzipping makes it, entered.

    Raises:
        DataError: it is missing, no folder, or may not be read.
    """
    asked = Path(folder).expanduser()
    try:
        root = asked.resolve(strict=True)
        while True:
            with os.scandir(root):
                pass
            inside = look(root, "")
            if inside.pictures or len(inside.folders) != 1:
                return root
            only = look(root, inside.folders[0])
            # A lone folder without sub-folders is not a wrapper: it is the only class there is.
            if not only.folders:
                return root
            root = root / inside.folders[0]
    # A link that leads to itself is a RuntimeError up to Python 3.12, a name that cannot be one a ValueError.
    except (FileNotFoundError, RuntimeError, ValueError) as cause:
        raise DataError("data.missing", folder=asked) from cause
    except NotADirectoryError as cause:
        raise DataError("data.not_a_folder", folder=asked) from cause
    except PermissionError as cause:
        raise DataError("data.permission", folder=asked) from cause
    except OSError as cause:
        raise DataError("data.unreadable", folder=asked, cause=cause.strerror or cause) from cause


def look(root: Path, path: str) -> Folder:
    """One folder's own entries. Links to folders are not followed, so loops do no harm.

    Args:
        root: absolute, links resolved; links to files are followed as long as they stay below it.
        path: posix path of the folder below the root.
    """
    found = Folder(path)
    try:
        with os.scandir(root / path) as entries:
            listed = sorted(entries, key=lambda entry: natural(entry.name))
    except PermissionError:
        found.problems.append(Problem(path, "folder_permission"))
        return found
    except OSError as cause:
        found.problems.append(Problem(path, "folder_unreadable", {"cause": cause.strerror or type(cause).__name__}))
        return found
    for entry in listed:
        if not ignored(entry.name):
            _sort_in(entry, root, found)
    return found


def below(root: Path, path: str) -> Folder:
    """A class folder with all its sub-folders: `pictures` holds paths relative to it."""
    whole = look(root, path)
    waiting = list(whole.folders)
    while waiting:
        here = waiting.pop(0)
        inner = look(root, join(path, here))
        waiting += [join(here, name) for name in inner.folders]
        whole.pictures.update({join(here, name): size for name, size in inner.pictures.items()})
        whole.problems += inner.problems
    return whole


def _sort_in(entry: os.DirEntry[str], root: Path, found: Folder) -> None:
    """Put one entry where it belongs."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:  # a name in an old encoding: it could be written to no JSON file
        shown = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        found.problems.append(Problem(join(found.path, shown), "name"))
        return
    path = join(found.path, entry.name)
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        if entry.is_dir(follow_symlinks=False):
            found.folders.append(entry.name)
        elif entry.is_symlink() and entry.is_dir():
            outside = not Path(os.path.realpath(entry.path)).is_relative_to(root)
            found.problems.append(Problem(path, "link_out" if outside else "link_folder"))
        elif suffix in FOREIGN:
            found.problems.append(Problem(path, "format", {"kind": FOREIGN[suffix]}))
        elif suffix in LISTS and entry.is_file():
            found.lists.append(entry.name)
        elif suffix not in EXTENSIONS:
            return
        elif entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
            found.problems.append(Problem(path, "link_out"))
        elif entry.is_symlink() and not os.path.exists(entry.path):
            found.problems.append(Problem(path, "link_broken"))
        elif entry.is_file():
            found.pictures[entry.name] = entry.stat().st_size
        else:  # a pipe, a socket, a device
            found.problems.append(Problem(path, "not_a_picture"))
    except PermissionError:
        found.problems.append(Problem(path, "permission"))
    except OSError:  # a link to itself, or a file that has just gone
        found.problems.append(Problem(path, "link_broken" if entry.is_symlink() else "missing"))
