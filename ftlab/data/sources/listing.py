"""What lies in a folder of pictures: class folders, pictures, and what is in the way. Opens no file. No torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import DataError, ProblemMessages
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS

MANIFEST_SUFFIXES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson"))
"""Names that lists of pictures and labels carry, lower case."""

_IGNORED_NAMES = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")
)

ImagesByClass = dict[str, dict[str, int]]
"""Class -> path relative to the root -> bytes."""


@dataclass(frozen=True)
class DatasetProblem(ProblemMessages):
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
    def location(self) -> str:
        """The file as a person reads it, in one line, with the line of the list."""
        file, line = messages.escape_control_chars(self.file), self.values.get("line")
        return messages.get_text("problem_at", file=file, line=line) if line else file

    def to_json(self) -> dict[str, str | int]:
        """`file`, `problem` and `remedy`, for people; and `line` where there is one."""
        line = {"line": self.values["line"]} if "line" in self.values else {}
        return {"file": self.file, **line, "problem": self.problem, "remedy": self.remedy}


@dataclass
class FolderListing:
    """One folder's own entries, sorted by name; hidden ones and what operating systems leave behind are not there.

    Attributes:
        path: posix path relative to the root; "" is the root.
        folders: names of sub-folders.
        images: names of files with a picture's extension, and their sizes in bytes.
        manifests: names of files that may list pictures and labels.
        problems: entries that are named and skipped.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    manifests: list[str] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)


def is_ignored(name: str) -> bool:
    """Whether an entry is hidden or something that operating systems leave behind."""
    return name.startswith(".") or name.casefold() in _IGNORED_NAMES


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key: numbers by value, letters regardless of case, the bare name as the last word."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def join_path(folder: str, name: str) -> str:
    """A posix path below the root; the root itself is ""."""
    return f"{folder}/{name}" if folder else name


def find_dataset_root(folder: Path | str) -> Path:
    """The folder where the layout begins: links resolved, and a lone wrapping folder, as unzipping makes it, entered.

    Raises:
        DataError: it is missing, no folder, or may not be read.
    """
    path = Path(folder).expanduser()
    try:
        root = path.resolve(strict=True)
        while True:
            with os.scandir(root):
                pass
            listing = list_folder(root, "")
            if listing.images or len(listing.folders) != 1:
                return root
            subfolder = list_folder(root, listing.folders[0])
            # A lone folder without sub-folders is not a wrapper: it is the only class there is.
            if not subfolder.folders:
                return root
            root = root / listing.folders[0]
    # A link that leads to itself is a RuntimeError up to Python 3.12, a name that cannot be one a ValueError.
    except (FileNotFoundError, RuntimeError, ValueError) as cause:
        raise DataError("data.missing", folder=path) from cause
    except NotADirectoryError as cause:
        raise DataError("data.not_a_folder", folder=path) from cause
    except PermissionError as cause:
        raise DataError("data.permission", folder=path) from cause
    except OSError as cause:
        raise DataError("data.unreadable", folder=path, cause=cause.strerror or cause) from cause


def list_folder(root: Path, path: str) -> FolderListing:
    """One folder's own entries. Links to folders are not followed, so loops do no harm.

    Args:
        root: absolute, links resolved; links to files are followed as long as they stay below it.
        path: posix path of the folder below the root.
    """
    listing = FolderListing(path)
    try:
        with os.scandir(root / path) as entries:
            sorted_entries = sorted(entries, key=lambda entry: natural_key(entry.name))
    except PermissionError:
        listing.problems.append(DatasetProblem(path, "folder_permission"))
        return listing
    except OSError as cause:
        listing.problems.append(
            DatasetProblem(path, "folder_unreadable", {"cause": cause.strerror or type(cause).__name__})
        )
        return listing
    for entry in sorted_entries:
        if not is_ignored(entry.name):
            _classify_entry(entry, root, listing)
    return listing


def list_recursively(root: Path, path: str) -> FolderListing:
    """A class folder with all its sub-folders: `pictures` holds paths relative to it."""
    listing = list_folder(root, path)
    pending = list(listing.folders)
    while pending:
        subfolder = pending.pop(0)
        sub_listing = list_folder(root, join_path(path, subfolder))
        pending += [join_path(subfolder, name) for name in sub_listing.folders]
        listing.images.update({join_path(subfolder, name): size for name, size in sub_listing.images.items()})
        listing.problems += sub_listing.problems
    return listing


def _classify_entry(entry: os.DirEntry[str], root: Path, listing: FolderListing) -> None:
    """Put one entry where it belongs."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:  # a name in an old encoding: it could be written to no JSON file
        display_name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        listing.problems.append(DatasetProblem(join_path(listing.path, display_name), "name"))
        return
    path = join_path(listing.path, entry.name)
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        if entry.is_dir(follow_symlinks=False):
            listing.folders.append(entry.name)
        elif entry.is_symlink() and entry.is_dir():
            is_outside = not Path(os.path.realpath(entry.path)).is_relative_to(root)
            listing.problems.append(DatasetProblem(path, "link_out" if is_outside else "link_folder"))
        elif suffix in UNSUPPORTED_FORMATS:
            listing.problems.append(DatasetProblem(path, "format", {"kind": UNSUPPORTED_FORMATS[suffix]}))
        elif suffix in MANIFEST_SUFFIXES and entry.is_file():
            listing.manifests.append(entry.name)
        elif suffix not in IMAGE_SUFFIXES:
            return
        elif entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
            listing.problems.append(DatasetProblem(path, "link_out"))
        elif entry.is_symlink() and not os.path.exists(entry.path):
            listing.problems.append(DatasetProblem(path, "link_broken"))
        elif entry.is_file():
            listing.images[entry.name] = entry.stat().st_size
        else:  # a pipe, a socket, a device
            listing.problems.append(DatasetProblem(path, "not_a_picture"))
    except PermissionError:
        listing.problems.append(DatasetProblem(path, "permission"))
    except OSError:  # a link to itself, or a file that has just gone
        listing.problems.append(DatasetProblem(path, "link_broken" if entry.is_symlink() else "missing"))
