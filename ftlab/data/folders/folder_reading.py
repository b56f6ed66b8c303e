"""Read the folders of a data set as classes and splits, or refuse what could mean several things. No torch.

A reading goes by names (`train`, `seg_test`, `masks`, `fold1`) and by agreement: folders that hold sub-folders of the
same names are splits, variants or parts of one data set, and never its classes.
"""

from __future__ import annotations

import filecmp
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.folders.folder_tree import FolderTree, get_name
from ftlab.data.folders.folder_words import IMAGE_WORDS, has_word
from ftlab.data.sources.listing import DatasetProblem, join_path

MAX_NAMED_FOLDERS = 4
"""Folders that a message names; more are counted."""


@dataclass(frozen=True)
class ClassFolder:
    """A folder that holds images of one class in one split.

    Attributes:
        split: `train`, `val` or `test`.
        name: of the class; several folders may share it.
        path: POSIX path of the folder.
    """

    split: str
    name: str
    path: str


@dataclass
class FolderReading:
    """Splits and classes that the folders of a data set stand for.

    Attributes:
        reason: key below `reading.because.`: why they are read so.
        values: placeholders of that message.
        split_folders: for each split that the folders define, the folder that messages name for it.
        class_folders: the folders of all classes, empty ones too.
        containers: folders that hold class folders; images that lie in them are in no class.
        problems: folders that are not used.
    """

    reason: str
    values: dict[str, str] = field(default_factory=dict)
    split_folders: dict[str, str] = field(default_factory=dict)
    class_folders: list[ClassFolder] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)

    def add_container(self, tree: FolderTree, split: str, path: str, skipped_names: Iterable[str] = ()) -> None:
        """Add the sub-folders of a folder as the classes of a split.

        A class is named in Unicode normal form C (composed accents), so that `train/` from Linux and `val/` from a
        Mac's zip agree.

        Args:
            tree: the folders.
            split: name of the split.
            path: POSIX path of the folder that holds the class folders.
            skipped_names: sub-folders that are no classes.
        """
        self.split_folders.setdefault(split, path)
        self.containers.append(path)
        train_names = {folder.name for folder in self.class_folders if folder.split == "train"}
        names = [name for name in tree.list_folder(path).folders if name not in set(skipped_names)]
        normalized_names = [unicodedata.normalize("NFC", name) for name in names]
        for folder_name, name in zip(names, normalized_names, strict=True):
            # Two folders whose names differ in their Unicode form only keep their own names: they must not be merged.
            if normalized_names.count(name) > 1 or folder_name in train_names:
                name = folder_name
            self.class_folders.append(ClassFolder(split, name, join_path(path, folder_name)))


class AmbiguousFoldersError(DataError):
    """Folders that could mean several things, of which one must be chosen."""

    def __init__(
        self, reason: str, root: Path, path: str, names: Sequence[str], inner_names: Sequence[str] = ()
    ) -> None:
        """Name the folders in question.

        Args:
            reason: key below `error.data.layout.`.
            root: absolute path of the data set.
            path: POSIX path of the folder that holds them.
            names: of the folders, relative to `path`; also the candidates for a choice further down.
            inner_names: names of the folders in them.
        """
        folder = root / path
        values = {"names": join_names(names), "inner": join_names(inner_names), "first": folder / names[0]}
        super().__init__(f"data.layout.{reason}", folder=folder, **values)


def join_names(names: Sequence[str]) -> str:
    """Return the first names of a list as text, and how many more there are."""
    text = ", ".join(names[:MAX_NAMED_FOLDERS])
    return f"{text} … ({len(names)})" if len(names) > MAX_NAMED_FOLDERS else text


def fold_name(name: str) -> str:
    """Return a name for comparisons: regardless of case and Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()


def find_common_names(name_lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the names that most of at least two lists share; empty where the lists do not agree.

    Lists agree if at least two names, and at least half of the names of each list, are in another list too.

    Args:
        name_lists: names of the sub-folders of each folder.

    Returns:
        The names as first written, in the order of their first appearance.
    """
    counts = Counter(name for names in name_lists for name in {fold_name(name) for name in names})
    shared = {name for name, count in counts.items() if count > 1}
    agrees = all(2 * sum(fold_name(name) in shared for name in names) >= len(names) for names in name_lists)
    if len(name_lists) < 2 or len(shared) < 2 or not agrees:
        return []
    written: dict[str, str] = {}
    for name in (name for names in name_lists for name in names):
        if fold_name(name) in shared:
            written.setdefault(fold_name(name), name)
    return [*written.values()]


def is_copy(tree: FolderTree, path: str, other_path: str, names: Sequence[str]) -> bool:
    """Return whether the sub-folders of a folder hold files that those of another one hold too.

    Names and sizes of all files are compared, and the content of three: uncompressed images are often of one size.

    Args:
        tree: the folders.
        path: the folder that may be a copy.
        other_path: the folder that it may be a copy of.
        names: sub-folders of `path` to compare; the other one may write them in another case.

    Returns:
        True if each file of `path` is in `other_path` too.
    """
    other_names = {fold_name(name): name for name in tree.list_folder(other_path).folders}
    folder_pairs = [
        (join_path(path, name), join_path(other_path, other_names[fold_name(name)]))
        for name in names
        if fold_name(name) in other_names
    ]
    return len(folder_pairs) == len(names) and _hold_same_files(tree, folder_pairs)


def holds_same_files(tree: FolderTree, path: str, other_path: str) -> bool:
    """Return whether each file of a folder is in another one too, compared as by `is_copy`."""
    return _hold_same_files(tree, [(path, other_path)])


def _hold_same_files(tree: FolderTree, folder_pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether there are files in the first folders of pairs, and all of them are in the second ones too."""
    pairs: list[tuple[str, str]] = []
    for path, other_path in folder_pairs:
        files, other_files = tree.list_files(path), tree.list_files(other_path)
        if not files.items() <= other_files.items():
            return False
        pairs += [(join_path(path, file), join_path(other_path, file)) for file in files]
    probe_pairs = [pairs[i] for i in (0, len(pairs) // 2, -1)] if pairs else []
    return bool(pairs) and all(has_same_content(tree.root / first, tree.root / second) for first, second in probe_pairs)


def has_same_content(first_file: Path, second_file: Path) -> bool:
    """Return whether two files hold the same bytes; False where one cannot be read."""
    try:
        return filecmp.cmp(first_file, second_file, shallow=False)
    except OSError:
        return False


def is_unsorted(tree: FolderTree, path: str) -> bool:
    """Return whether the images of a folder lie in one place: in itself or in a lone folder of the same purpose."""
    path = tree.enter_wrappers(path)
    subfolders = tree.list_subfolders(path)
    return not subfolders or (len(subfolders) == 1 and is_repeated(subfolders[0], get_name(path)))


def is_repeated(name: str, parent_name: str) -> bool:
    """Return whether a folder repeats its parent (`test/test`) or only says that it holds images (`val/images`)."""
    return name.casefold() == parent_name.casefold() or has_word(name, IMAGE_WORDS)
