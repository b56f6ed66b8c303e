"""Find the lists of images that lie in a data set, and choose those that describe it. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.manifests import joined_lists
from ftlab.data.manifests.columns import ListColumns, missing_column_error
from ftlab.data.manifests.image_index import ImageIndex
from ftlab.data.manifests.label_names import is_names_file
from ftlab.data.manifests.list_splits import find_list_split, is_submission, may_hold_lists
from ftlab.data.manifests.manifest import ListSource, Manifest, probe_columns, read_manifests
from ftlab.data.manifests.text_files import PACKED_SUFFIXES, TABLE_FILE_SUFFIXES, WORKBOOK_SUFFIXES, mentions_images
from ftlab.data.sources import links
from ftlab.data.sources.listing import LOOSE_MANIFEST_SUFFIXES, MANIFEST_SUFFIXES, DatasetProblem, is_ignored
from ftlab.data.sources.locate import DatasetLocation
from ftlab.data.sources.matlab_files import MATLAB_SUFFIX

MAX_SEARCH_DEPTH = 3
"""Levels of folders below the root in which lists are looked for."""
MAX_LISTS_PER_FOLDER = 30
"""Files of a folder above which they are no lists but belong to one image each."""
MAX_LISTS = 100

UNUSED_LIST_CODES = frozenset(
    (
        *("list_several", "list_columns", "list_multilabel", "list_header", "list_detection", "list_unreadable"),
        *("list_foreign", "list_json_keys", "list_affixes", "list_attributes"),
    )
)
"""Problems of lists that are not used."""
LIST_NOTE_CODES = frozenset(
    (
        *("list_used", "list_is_split", "list_label_column", "list_finest_column", "list_names", "list_path_names"),
        *("list_path_splits", "list_folder", "list_not_needed", "list_affix"),
    )
)
"""Problems of lists that only tell how they were read."""
_NAMED_SUFFIXES = WORKBOOK_SUFFIXES | TABLE_FILE_SUFFIXES | {MATLAB_SUFFIX}
"""Suffixes of lists that are not read, but named."""
_SEARCHED_SUFFIXES = LOOSE_MANIFEST_SUFFIXES | _NAMED_SUFFIXES
"""Suffixes of lists that are not among those of `MANIFEST_SUFFIXES`."""
_MAX_NAMED_FILES = 8
"""Files of `_NAMED_SUFFIXES` in a folder above which they belong to one image each."""


@dataclass(frozen=True)
class FoundList:
    """A file in a data set that may be a list of its images.

    Attributes:
        file: absolute path.
        split: split that its name or its folder names, "" for none.
        columns: None where it cannot be used.
        error: why it cannot be used as a list with labels; None if it can.
    """

    file: Path
    split: str = ""
    columns: ListColumns | None = None
    error: DataError | None = None

    @property
    def is_usable(self) -> bool:
        """Return whether it has images and labels."""
        return self.columns is not None and self.columns.has_labels


@dataclass
class ListSearch:
    """Lists of a data set.

    Attributes:
        root: folder that the paths of the images are relative to.
        index: images below it.
        lists: files that have columns of images, or might be lists; examples of submissions are left out.
        split_files: text files without labels that are named like splits.
    """

    root: Path
    index: ImageIndex
    lists: list[FoundList] = field(default_factory=list)
    split_files: list[Path] = field(default_factory=list)

    @property
    def usable_lists(self) -> list[FoundList]:
        """Return the lists with images and labels."""
        return [list_file for list_file in self.lists if list_file.is_usable]

    def choose(self) -> list[ListSource]:
        """Return the lists that describe the data set: a single one, or one for each split; empty where it is open."""
        usable = self.usable_lists
        if len(usable) > 1:  # `{"0": "cat", "1": "dog"}` names classes, although images may be named 0 and 1 too
            usable = [list_file for list_file in usable if not is_names_file(list_file.file)] or usable
        if len(usable) == 1:
            return [] if self._is_doubtful(usable[0]) else [ListSource(usable[0].file)]
        split_lists = [list_file for list_file in usable if list_file.split]
        splits = {list_file.split for list_file in split_lists}
        # One more list may hold the images of all splits.
        is_one_each = "train" in splits and len(splits) == len(split_lists) >= len(usable) - (len(splits) > 1)
        return [ListSource(list_file.file, list_file.split) for list_file in split_lists] if is_one_each else []

    def _is_doubtful(self, list_file: FoundList) -> bool:
        """Return whether nobody says that the numbers of a list are what to recognize, beside a table of attributes."""
        is_named = list_file.columns is not None and bool(list_file.columns.names)
        codes = {other.error.code for other in self.lists if other.error is not None}
        return not is_named and "data.list_attributes" in codes

    def read(self, sources: Sequence[ListSource]) -> Manifest:
        """Return the content of some of the lists; one that cannot be read raises a `DataError`."""
        return read_manifests(sources, self.index)

    def describe_not_needed(self, sources: Sequence[ListSource]) -> list[DatasetProblem]:
        """Return a problem for each list that others make superfluous, such as that of all splits.

        Args:
            sources: the lists that are used.
        """
        used_files = {source.file for source in sources}
        return [
            DatasetProblem(self._get_name(list_file), "list_not_needed")
            for list_file in self.usable_lists
            if list_file.file not in used_files and not is_names_file(list_file.file)
        ]

    def _get_name(self, list_file: FoundList) -> str:
        """Return the path of a list for a problem: relative to the root, if it lies below it."""
        file = list_file.file
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else file.name

    def describe_unused(self, code: str, *, with_unusable: bool) -> list[DatasetProblem]:
        """Return a problem for each list that is not used.

        Args:
            code: of the problem of a list that could be used.
            with_unusable: also for those that could not.
        """
        problems = []
        for list_file in self.lists:
            name = self._get_name(list_file)
            if list_file.is_usable:
                problems.append(DatasetProblem(name, code))
            elif with_unusable and list_file.error is not None:
                problems.append(describe_unusable(list_file.error, name))
        return problems


def describe_unusable(error: DataError, name: str) -> DatasetProblem:
    """Return the problem of a list that cannot be used.

    Args:
        error: why.
        name: path of the list, for the problem.
    """
    if error.code == "data.list_columns":
        return DatasetProblem(name, "list_columns", {key: str(error.values[key]) for key in ("missing", "found")})
    code = error.code.removeprefix("data.")
    if code in UNUSED_LIST_CODES:
        return DatasetProblem(name, code, {key: str(value) for key, value in error.values.items() if key != "file"})
    return DatasetProblem(name, "list_unreadable")


def raise_unused_lists(root: Path, problems: Sequence[DatasetProblem]) -> None:
    """Raise the error that names lists which would have told the classes, if there are any.

    Args:
        root: folder of the data set.
        problems: of its scan.

    Raises:
        DataError: a list lies in the folder and is not used.
    """
    unused = [problem for problem in problems if problem.code in UNUSED_LIST_CODES]
    if unused:
        # What to do about a table of attributes helps more than that there are several lists.
        first = min(unused, key=lambda problem: problem.code != "list_attributes")
        names = ", ".join(dict.fromkeys(problem.file for problem in (first, *unused)))
        values = {"problem": first.problem, "remedy": first.remedy}
        raise DataError("data.list_unused", folder=root, names=names[:300], **values)


def search_lists(
    location: DatasetLocation, *, compare_ids: bool = True, image_folders: Sequence[str] = ()
) -> ListSearch:
    """Find the lists in a folder, in the folders around it that were entered, and in folders for lists below.

    Args:
        location: the data set.
        compare_ids: recognize columns of ids by the names of the images, which lists all folders. Without, only
            lists whose columns have telling names are found.
        image_folders: further folders to search, relative to that of the data set: Hugging Face puts `metadata.jsonl`
            beside the images.

    Returns:
        The lists; paths are relative to the outermost folder that holds one of them.
    """
    found_files = [
        file for folder in (location.folder, *location.wrapper_folders) for file in _find_files_below(folder)
    ]
    found_files += [file for name in image_folders for file in _find_files_below(location.folder / name, 1)]
    files = list(dict.fromkeys([*location.manifest_files, *found_files]))
    outer_folders = [folder for folder in location.wrapper_folders if _holds_list(folder, location.folder, files)]
    root = min((location.folder, *outer_folders), key=lambda folder: len(folder.parts))
    search = ListSearch(root, ImageIndex(root))
    for file in files[:MAX_LISTS]:
        if not is_submission(file) and not joined_lists.is_part(file):
            list_file = _probe(file, search, compare_ids=compare_ids)
            if list_file is not None:
                search.lists.append(list_file)
            elif file.suffix.lower() == ".txt" and find_list_split(file, root):
                search.split_files.append(file)
    return search


def _holds_list(folder: Path, inner_folder: Path, files: Sequence[Path]) -> bool:
    """Return whether a file that may be a list lies in a folder, but not in the one in it.

    Args:
        folder: a wrapping folder.
        inner_folder: folder of the data set.
        files: the files.
    """
    return any(file.is_relative_to(folder) and not file.is_relative_to(inner_folder) for file in files)


def _probe(file: Path, search: ListSearch, *, compare_ids: bool) -> FoundList | None:
    """Return what a file is; None for one that is clearly no list of images.

    Args:
        file: may be a list.
        search: what it belongs to.
        compare_ids: as for `search_lists`.
    """
    split = find_list_split(file, search.root)
    is_loose = file.suffix.lower() in LOOSE_MANIFEST_SUFFIXES
    try:
        columns = probe_columns(file, search.index if compare_ids else None)
    except DataError as error:
        # A text or JSON file may hold anything: only one that is made for images is worth a word.
        if is_loose and not _is_worth_a_word(file, error):
            return None
        return FoundList(file, split, error=error)
    if columns.has_labels:
        return FoundList(file, split, columns)
    # Test images of a competition have no labels, and need none; a text file may be a mere list of files.
    if file.suffix.lower() == ".txt" or split == "test":
        return None
    return FoundList(file, split, columns, missing_column_error(file, "labels", columns.names))


def _is_worth_a_word(file: Path, error: DataError) -> bool:
    """Return whether a text or JSON file that cannot be used seems to be made for the images of a data set."""
    if error.code == "data.list_foreign":
        kinds = ("lfs", "annex", "archive", "page") if file.suffix.lower() == ".json" else ("lfs", "annex", "archive")
        return error.values["key"] in kinds
    if error.code in ("data.list_json_keys", "data.list_columns", "data.list_json_file"):
        return file.suffix.lower() == ".json" and mentions_images(file)
    return error.code in ("data.list_multilabel", "data.list_attributes", "data.list_detection", "data.list_header")


def _find_files_below(folder: Path, first_depth: int = 0) -> list[Path]:
    """Return the files in the folders for lists below a folder, the outer ones first.

    Args:
        folder: it is searched itself too.
        first_depth: number of folders above it; 0: the usual lists in it are known already.
    """
    files: list[Path] = []
    pending = [(folder, first_depth)]
    for parent, depth in pending:
        names: list[str] = []
        subfolders: list[str] = []
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    if _may_be_list(entry.name, depth):
                        if not is_ignored(entry.name) and entry.is_file() and not _is_refused_link(entry, folder):
                            names.append(entry.name)
                    elif (
                        depth < MAX_SEARCH_DEPTH
                        and may_hold_lists(entry.name)
                        and entry.is_dir(follow_symlinks=False)
                        and not is_ignored(entry.name)
                    ):
                        subfolders.append(entry.name)
        except OSError:  # the scan of the images reports it
            continue
        named_files = [name for name in names if os.path.splitext(name)[1].lower() in _NAMED_SUFFIXES]  # noqa: PTH122
        if len(named_files) > _MAX_NAMED_FILES:
            names = [name for name in names if name not in named_files]
        if len(names) <= MAX_LISTS_PER_FOLDER:
            files += [parent / name for name in sorted(names)]
        pending += [(parent / name, depth + 1) for name in sorted(subfolders)]
    return files


def _may_be_list(name: str, depth: int) -> bool:
    """Return whether a file may be a list by its suffix; the usual lists of the folder itself are known already.

    Args:
        name: of the file.
        depth: number of folders above it, below the one that is searched.
    """
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - for each of 100,000 files
    suffix = suffix.lower()
    if suffix in PACKED_SUFFIXES:
        return os.path.splitext(stem)[1].lower() in MANIFEST_SUFFIXES  # noqa: PTH122
    return suffix in _SEARCHED_SUFFIXES or (depth > 0 and suffix in MANIFEST_SUFFIXES)


def _is_refused_link(entry: os.DirEntry[str], root: Path) -> bool:
    """Return whether a file is a link that must not be followed."""
    return entry.is_symlink() and bool(links.find_link_problem(root, entry.path, is_folder=False))
