"""Read the folders below a root as classes and splits, automatically or as the user says. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from ftlab.core.errors import DataError
from ftlab.data.folders.class_levels import read_classes, read_inner_classes, read_named_groups
from ftlab.data.folders.doubled_classes import leave_out_doubled
from ftlab.data.folders.folder_reading import (
    AmbiguousFoldersError,
    FolderReading,
    find_common_names,
    is_unsorted,
    join_names,
)
from ftlab.data.folders.folder_tree import FolderTree
from ftlab.data.folders.folder_words import (
    IMAGE_WORDS,
    UNLABELED_WORDS,
    are_subject_names,
    has_word,
    is_annotation_name,
    is_condition_name,
    is_part_name,
    parse_split_name,
)
from ftlab.data.folders.split_folders import read_split_folders, read_splits_in_classes
from ftlab.data.folders.unused_folders import (
    find_annotations,
    find_copies,
    find_nested_copies,
    find_split_names,
)
from ftlab.data.sources.listing import DatasetProblem, join_path


def read_folders(tree: FolderTree, choice: str = "auto") -> FolderReading:
    """Return what the folders below a root are.

    Propagates `AmbiguousFoldersError` where `auto` could mean several things.

    Args:
        tree: the folders.
        choice: `auto`; `classes`: each folder is a class; `inner_classes`: the folders in them are the classes, and
            those of the same name are one; `splits`: they are splits.

    Returns:
        The reading; it has no class folders where there are none.

    Raises:
        DataError: `splits` was chosen, and the names of the folders are not those of splits.
    """
    if choice == "classes":
        return read_classes(tree, tree.enter_wrappers(""), "chosen_classes", {})
    if choice == "inner_classes":
        return read_inner_classes(tree, "", "chosen_inner_classes")
    if choice == "splits":
        reading = read_split_folders(tree, "") or _read_unnamed_train(tree, "", tree.list_subfolders(""))
        if reading is None:
            raise DataError("data.layout.no_splits", folder=tree.root, names=join_names(tree.list_folder("").folders))
        return reading
    reading = _read_folder(tree, "")
    _refuse_subjects(tree, reading)
    leave_out_doubled(tree, reading)
    return reading


def _refuse_subjects(tree: FolderTree, reading: FolderReading) -> None:
    """Refuse folders of patients or recordings: nobody wants to recognize these, and a list has the labels.

    Args:
        tree: the folders.
        reading: of them.

    Raises:
        AmbiguousFoldersError: the class folders for training are named so.
    """
    names = [folder.name for folder in reading.class_folders if folder.split == "train"]
    if are_subject_names(names):
        raise AmbiguousFoldersError("subjects", tree.root, reading.split_folders.get("train", ""), names)


def _read_folder(tree: FolderTree, path: str) -> FolderReading:
    """Return the automatic reading of a folder: by split names, then by what its sub-folders hold."""
    reading = read_split_folders(tree, path)
    if reading is not None:
        return reading
    names = tree.list_subfolders(path)
    problems: list[DatasetProblem] = []
    for find_unused in (find_annotations, find_nested_copies, find_copies):
        unused = find_unused(tree, path, names)
        problems += unused.values()
        names = [name for name in names if name not in unused]
    reading = (
        _read_inner_data_set(tree, path, names)
        or read_splits_in_classes(tree, path, names)
        or _read_agreeing_folders(tree, path, names)
        or read_named_groups(tree, path, names)
    )
    if reading is None:
        unused_names = [name for name in tree.list_subfolders(path) if name not in names]
        reading = read_classes(tree, path, "class_folders", {}, unused_names)
        reading.problems += find_split_names(path, names)
    reading.problems += problems
    return reading


def _read_unnamed_train(tree: FolderTree, path: str, names: Sequence[str]) -> FolderReading | None:
    """Return the reading of `rps` beside `rps-test-set`: the one folder without a split name is the training split.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        The reading; None where not all but one folder are validation and test splits of the same classes.
    """
    splits = {name: parsed.split for name in names if (parsed := parse_split_name(name))}
    unnamed = [name for name in names if name not in splits]
    if len(unnamed) != 1 or not splits or "train" in splits.values() or len(set(splits.values())) < len(splits):
        return None
    paths = {name: tree.enter_wrappers(join_path(path, name)) for name in names}
    sorted_names = [name for name in splits if not is_unsorted(tree, paths[name])]
    if not find_common_names([tree.list_subfolders(paths[name]) for name in (unnamed[0], *sorted_names)]):
        return None
    reading = FolderReading("unnamed_train", {"names": join_names(sorted_names), "train": unnamed[0]})
    reading.containers.append(path)
    reading.add_container(tree, "train", paths[unnamed[0]])
    for name, split in splits.items():
        if name in sorted_names:
            reading.add_container(tree, split, paths[name])
        else:
            values: dict[str, str | int] = {"count": len(tree.list_files(paths[name])), "split": split}
            reading.problems.append(DatasetProblem(join_path(path, name), "unlabeled_split", values))
    return reading


def _read_inner_data_set(tree: FolderTree, path: str, names: Sequence[str]) -> FolderReading | None:
    """Return the reading of the one folder that holds the data set, beside folders of other purposes.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders with images.

    Returns:
        The reading of that folder; None where there is no such folder.

    Raises:
        AmbiguousFoldersError: several folders are data sets, or a folder is `train` beside a folder of images.
    """
    sorted_names = [name for name in names if not is_unsorted(tree, join_path(path, name))]
    others = [name for name in names if name not in sorted_names]
    data_sets = [name for name in sorted_names if _has_splits(tree, join_path(path, name))]
    # `train` beside `query` and `gallery`: its classes are further down, and so are theirs.
    if len(sorted_names) > 1 and any((parsed := parse_split_name(name)) and parsed.is_plain for name in sorted_names):
        agreeing_folders = _read_agreeing_folders(tree, path, names)
        if agreeing_folders is not None:
            return agreeing_folders
        raise AmbiguousFoldersError("sets", tree.root, path, sorted_names)
    if len(data_sets) > 1 and read_splits_in_classes(tree, path, data_sets) is None:
        raise AmbiguousFoldersError("sets", tree.root, path, data_sets)
    if data_sets and len(data_sets) < len(sorted_names):
        raise AmbiguousFoldersError("sets", tree.root, path, sorted_names)
    if len(sorted_names) != 1:
        return None
    name = sorted_names[0]
    if not data_sets and len(tree.list_subfolders(tree.enter_wrappers(join_path(path, name)))) < 2:
        return None
    purposeless = [other for other in others if not _has_other_purpose(tree, path, other)]
    if len(purposeless) == 1 and len(others) == 1 and (data_sets or parse_split_name(name)):
        raise AmbiguousFoldersError("mixed", tree.root, path, [name, *purposeless])
    if purposeless and not data_sets:
        return None
    reading = _read_folder(tree, tree.enter_wrappers(join_path(path, name)))
    reading.containers.append(path)
    for other in others:
        values: dict[str, str | int] = {"count": len(tree.list_files(join_path(path, other))), "used": name}
        reading.problems.append(DatasetProblem(join_path(path, other), "no_class_folders", values))
    return reading


def _has_splits(tree: FolderTree, path: str) -> bool:
    """Return whether a folder, its wrappers entered, holds split folders with class folders."""
    path = tree.enter_wrappers(path)
    reading = read_split_folders(tree, path)
    return reading is not None and any(tree.has_images(folder.path) for folder in reading.class_folders)


def _has_other_purpose(tree: FolderTree, path: str, name: str) -> bool:
    """Return whether a folder of images without class folders is no class by its name: `test`, `pred`, `annotations`.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds it.
        name: of the folder; the names of its sub-folders count too (`dataset-master/JPEGImages`).

    Returns:
        Whether a name says so.
    """
    inner_names = tree.list_subfolders(tree.enter_wrappers(join_path(path, name)))
    return any(
        bool(parse_split_name(word)) or is_annotation_name(word) or has_word(word, UNLABELED_WORDS | IMAGE_WORDS)
        for word in (name, *inner_names)
    )


def _read_agreeing_folders(tree: FolderTree, path: str, names: Sequence[str]) -> FolderReading | None:
    """Return the reading of folders that hold sub-folders of the same names.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        The reading; None where the names do not agree.

    Raises:
        AmbiguousFoldersError: neither names nor numbers say which of both levels are the classes.
    """
    paths = {name: tree.enter_wrappers(join_path(path, name)) for name in names}
    inner_names = {name: tree.list_subfolders(paths[name]) for name in names}
    outer = [name for name in names if inner_names[name] and not tree.list_folder(paths[name]).images]
    common_names = find_common_names([inner_names[name] for name in outer])
    if not common_names or 2 * len(outer) < len(names):
        return None
    reading = _read_unnamed_train(tree, path, names)
    if reading is not None:
        return reading
    if all(map(is_condition_name, common_names)) or all(parse_split_name(name) for name in common_names):
        return read_classes(tree, path, "conditions", {"inner": join_names(common_names)})
    says_part = any(is_part_name(name) or parse_split_name(name) or is_condition_name(name) for name in outer)
    if not says_part and len(outer) >= 2 * median_low(len(inner_names[name]) for name in outer):
        reading = read_classes(tree, path, "many_folders", {"inner": join_names(common_names)})
        values: dict[str, str | int] = {"inner": join_names(common_names)}
        reading.problems.append(DatasetProblem(path or ".", "two_levels", values))
        return reading
    candidates = [paths[name].removeprefix(f"{path}/" if path else "") for name in outer]
    raise AmbiguousFoldersError("levels", tree.root, path, candidates, common_names)
