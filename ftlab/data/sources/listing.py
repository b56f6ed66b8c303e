"""List the folders, images and manifests in a folder, and the problems in it, without opening a file. No torch."""

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
"""Suffixes of manifests, lower case."""

_IGNORED_NAMES = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")
)
"""Names that operating systems and NAS devices (`@eaDir`: Synology) leave behind, lower case."""

ImagesByClass = dict[str, dict[str, int]]
"""Size in bytes by class and path: `{"ants": {"train/ants/1.jpg": 20814}}`."""


@dataclass(frozen=True)
class DatasetProblem(ProblemMessages):
    """Something in a data set that is not used, or not as the user may expect.

    Attributes:
        file: POSIX path of a file or folder relative to the catalog's root; or a class of a manifest.
        code: key of the messages `problem.<code>` and `remedy.<code>`.
        values: placeholders of the messages, plain JSON; `line` is the line of the manifest, from 1.
    """

    file: str
    code: str
    values: dict[str, str | int] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The file as shown to the user: on one line, with the line number in the manifest."""
        file, line = messages.escape_control_chars(self.file), self.values.get("line")
        return messages.get_text("problem_at", file=file, line=line) if line else file

    def to_json(self) -> dict[str, str | int]:
        """Return `file`, `problem` and `remedy` as text for the user, and `line` where there is one."""
        line = {"line": self.values["line"]} if "line" in self.values else {}
        return {"file": self.file, **line, "problem": self.problem, "remedy": self.remedy}


@dataclass
class FolderListing:
    """Entries of one folder, sorted by name, without hidden files and files of operating systems.

    Attributes:
        path: POSIX path relative to the root; "" is the root.
        folders: names of subfolders.
        images: names of files with an image suffix, and their sizes in bytes.
        manifests: names of files with the suffix of a manifest.
        problems: entries that are reported and skipped.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    manifests: list[str] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)


def is_ignored(name: str) -> bool:
    """Return whether an entry is hidden or left behind by an operating system."""
    return name.startswith(".") or name.casefold() in _IGNORED_NAMES


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sorting key: numbers by value, letters regardless of case, the name itself to break ties."""
    # `split` with one group alternates text and digits, so equal positions always compare the same type. Not `\d`:
    # it matches digits such as "²", which `int` refuses.
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def join_path(folder: str, name: str) -> str:
    """Return the POSIX path of `name` in `folder`; the root is ""."""
    return f"{folder}/{name}" if folder else name


def find_dataset_root(folder: Path | str) -> Path:
    """Return the folder in which the layout begins.

    A lone wrapping folder, as unpacking an archive makes it, is entered.

    Args:
        folder: as the user wrote it; `~` is expanded.

    Returns:
        Absolute path, links resolved.

    Raises:
        DataError: the folder is missing, not a folder, or cannot be read.
    """
    path = Path(folder).expanduser()
    try:
        root = path.resolve(strict=True)
        while True:
            # `list_folder` reports errors as problems; here they must be raised.
            with os.scandir(root):
                pass
            listing = list_folder(root, "")
            if listing.images or len(listing.folders) != 1:
                return root
            subfolder = list_folder(root, listing.folders[0])
            # A lone folder without subfolders is not a wrapper: it is the only class.
            if not subfolder.folders:
                return root
            root = root / listing.folders[0]
    # RuntimeError: a link to itself, up to Python 3.12. ValueError: an invalid name, with a NUL byte for example.
    except (FileNotFoundError, RuntimeError, ValueError) as cause:
        raise DataError("data.missing", folder=path) from cause
    except NotADirectoryError as cause:
        raise DataError("data.not_a_folder", folder=path) from cause
    except PermissionError as cause:
        raise DataError("data.permission", folder=path) from cause
    except OSError as cause:
        raise DataError("data.unreadable", folder=path, cause=cause.strerror or cause) from cause


def list_folder(root: Path, path: str) -> FolderListing:
    """List the entries of one folder; links to folders are not followed, so that loops do no harm.

    Args:
        root: absolute path, links resolved; links to files are followed as long as they stay below it.
        path: POSIX path of the folder below the root.

    Returns:
        The listing; a folder that cannot be read has only a problem.
    """
    listing = FolderListing(path)
    try:
        # `scandir`, not `iterdir`: its entries know their type and, on Windows, their size without a system call.
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
    """Return the listing of a class folder with all its subfolders; `images` has paths relative to the class folder."""
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
    """Add a directory entry to its list in `listing`: a folder, an image, a manifest or a problem."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:  # a name in an old encoding (Latin-1, Shift JIS): no JSON file could hold it
        display_name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        listing.problems.append(DatasetProblem(join_path(listing.path, display_name), "name"))
        return
    path = join_path(listing.path, entry.name)
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - four times as fast, for each of 100,000 files
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
        elif suffix in IMAGE_SUFFIXES:
            _add_image(entry, root, listing)
    except PermissionError:
        listing.problems.append(DatasetProblem(path, "permission"))
    except OSError:  # a link to itself, or a file that has just gone
        listing.problems.append(DatasetProblem(path, "link_broken" if entry.is_symlink() else "missing"))


def _add_image(entry: os.DirEntry[str], root: Path, listing: FolderListing) -> None:
    """Add an entry with an image suffix to the images of `listing`, or to its problems if it is no usable file.

    Args:
        entry: no folder and no link to one.
        root: folder that a link must not leave.
        listing: changed in place.
    """
    path = join_path(listing.path, entry.name)
    if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
        listing.problems.append(DatasetProblem(path, "link_out"))
    elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - `Path.exists` raises without a right
        listing.problems.append(DatasetProblem(path, "link_broken"))
    elif entry.is_file():
        listing.images[entry.name] = entry.stat().st_size
    else:  # a pipe, a socket, a device
        listing.problems.append(DatasetProblem(path, "not_a_picture"))
