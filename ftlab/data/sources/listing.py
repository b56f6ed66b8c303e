"""List the folders, images and manifests in a folder, and the problems in it. No torch.

Suffixes decide; only a file with an unknown suffix, or none, is opened, to see whether an image is inside.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core import messages, private_folders
from ftlab.core.errors import DataError, ProblemMessages
from ftlab.core.typed_path import parse_typed_path
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.sources import links
from ftlab.data.sources.file_suffixes import format_other_counts, get_suffix, holds_image, is_document, may_hold_image

SPLITS = ("train", "val", "test")
MANIFEST_SUFFIXES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson"))
"""Suffixes of manifests, lower case."""
LOOSE_MANIFEST_SUFFIXES = frozenset((".txt", ".json"))
"""Suffixes of files that may be manifests but are most often something else."""

_IGNORED_NAMES = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")
)
"""Names that operating systems and NAS devices (`@eaDir`: Synology) leave behind, lower case."""

OTHER_FILES_CODE = "other_files"
"""Code of the problem that counts files that are not used, see `merge_other_files`."""

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
        if line and "list" in self.values:
            list_name = messages.escape_control_chars(self.values["list"])
            return messages.get_text("problem_in_list", file=file, line=line, list=list_name)
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
        other_counts: number of files that are none of these, by suffix; documents are not counted.
        problems: entries that are reported and skipped.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    manifests: list[str] = field(default_factory=list)
    other_counts: Counter[str] = field(default_factory=Counter)
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
        folder: as the user wrote it, see `parse_typed_path`.

    Returns:
        Absolute path, links resolved.

    Raises:
        DataError: the folder is missing, not a folder, or cannot be read.
    """
    path = parse_typed_path(folder)
    visited_folders: set[Path] = set()
    try:
        root = path.resolve(strict=True)
        # A folder that was seen before: links in a circle.
        while root not in visited_folders:
            visited_folders.add(root)
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
            root = (root / listing.folders[0]).resolve(strict=True)
        return root
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
    """List the entries of one folder, links as `links.find_link_problem` decides.

    Args:
        root: absolute path, links resolved.
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
    listing.problems += [
        DatasetProblem(path or ".", OTHER_FILES_CODE, {"suffix": suffix, "count": count})
        for suffix, count in listing.other_counts.items()
    ]
    return listing


def list_recursively(root: Path, path: str) -> FolderListing:
    """Return the listing of a class folder with all its subfolders; `images` has paths relative to the class folder."""
    result = FolderListing(path)
    for subpath, listing in walk_folders(root, path, lambda folder: list_folder(root, folder)):
        result.images.update({join_path(subpath, name): size for name, size in listing.images.items()})
        result.problems += listing.problems
    return result


def walk_folders(
    root: Path,
    path: str,
    list_one: Callable[[str], FolderListing],
    skip_folders: Callable[[FolderListing], Collection[str]] = lambda _: (),
) -> Iterator[tuple[str, FolderListing]]:
    """Walk through a folder and its subfolders, level by level.

    Args:
        root: absolute path, links resolved.
        path: POSIX path of the folder below the root.
        list_one: returns the listing of a folder below the root.
        skip_folders: returns the names of the subfolders of a listing that are not entered.

    Yields:
        The path relative to the folder ("" for itself) and the listing, of each folder. A folder that was entered
        before has only a problem.
    """
    pending = [""]
    # Links may lead to the same folder in several ways, or in a circle.
    visited_folders: set[str] = set()
    while pending:
        subpath = pending.pop(0)
        folder_path = join_path(path, subpath) if subpath else path
        real_path = os.path.realpath(root / folder_path)
        if real_path in visited_folders:
            yield subpath, FolderListing(folder_path, problems=[DatasetProblem(folder_path, "link_folder")])
            continue
        visited_folders.add(real_path)
        listing = list_one(folder_path)
        yield subpath, listing
        skipped_names = skip_folders(listing)
        pending += [join_path(subpath, name) for name in listing.folders if name not in skipped_names]


def merge_other_files(problems: Iterable[DatasetProblem]) -> list[DatasetProblem]:
    """Return the problems with one for all files that are not used, instead of one for each folder and suffix."""
    counts: Counter[str] = Counter()
    merged_problems = []
    for problem in problems:
        if problem.code == OTHER_FILES_CODE and "suffix" in problem.values:
            counts[str(problem.values["suffix"])] += int(problem.values["count"])
        else:
            merged_problems.append(problem)
    if counts:
        values: dict[str, str | int] = {"count": counts.total(), "kinds": format_other_counts(counts)}
        merged_problems.append(DatasetProblem(".", OTHER_FILES_CODE, values))
    return merged_problems


def _classify_entry(entry: os.DirEntry[str], root: Path, listing: FolderListing) -> None:
    """Add a directory entry to its list in `listing`: a folder, an image, a manifest, another file or a problem."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:  # a name in an old encoding (Latin-1, Shift JIS): no JSON file could hold it
        display_name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        listing.problems.append(DatasetProblem(join_path(listing.path, display_name), "name"))
        return
    path = join_path(listing.path, entry.name)
    try:
        # A junction of Windows is a link to a folder.
        is_link = entry.is_symlink() or (sys.platform == "win32" and entry.is_dir() and _is_junction(entry))
        is_folder = entry.is_dir()
        if is_link and not os.path.exists(entry.path):  # noqa: PTH110 - `Path.exists` raises without a right
            link_problem = "link_broken"
        else:
            link_problem = links.find_link_problem(root, entry.path, is_folder=is_folder) if is_link else ""
        if link_problem and (is_folder or get_suffix(entry.name) in IMAGE_SUFFIXES | MANIFEST_SUFFIXES):
            listing.problems.append(DatasetProblem(path, link_problem))
        elif is_folder:
            # Asked first, so that the system resolves links only where something is barred.
            are_barred = bool(private_folders.list_declared_folders())
            if not are_barred or not private_folders.is_barred(root, Path(os.path.realpath(entry.path))):
                listing.folders.append(entry.name)
        elif not link_problem:
            _classify_file(entry, path, listing)
    except PermissionError:
        listing.problems.append(DatasetProblem(path, "permission"))
    except OSError:  # a link to itself, or a file that has just gone
        listing.problems.append(DatasetProblem(path, "link_broken" if entry.is_symlink() else "missing"))


def _classify_file(entry: os.DirEntry[str], path: str, listing: FolderListing) -> None:
    """Add a file, or a link to one that is followed, to its list in `listing`.

    Args:
        entry: the file; a pipe, a socket or a device is reported if it has the suffix of an image.
        path: its POSIX path relative to the root.
        listing: changed in place.
    """
    suffix = get_suffix(entry.name)
    if not entry.is_file():
        if suffix in IMAGE_SUFFIXES:
            listing.problems.append(DatasetProblem(path, "not_a_picture"))
    elif suffix in IMAGE_SUFFIXES:
        listing.images[entry.name] = entry.stat().st_size
    elif suffix in MANIFEST_SUFFIXES:
        listing.manifests.append(entry.name)
    elif may_hold_image(entry.name, suffix) and holds_image(entry.path, suffix):
        listing.images[entry.name] = entry.stat().st_size
    elif suffix in UNSUPPORTED_FORMATS:
        listing.problems.append(DatasetProblem(path, "format", {"kind": UNSUPPORTED_FORMATS[suffix]}))
    elif not is_document(entry.name, suffix):
        listing.other_counts[suffix] += 1


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a junction; Python tells it from version 3.12 on."""
    return bool(getattr(entry, "is_junction", lambda: False)())
