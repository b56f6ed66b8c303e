"""Find the folders that are splits: by their names, or inside each class folder. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.data.folders.class_levels import find_inner_names
from ftlab.data.folders.folder_reading import (
    AmbiguousFoldersError,
    ClassFolder,
    FolderReading,
    find_common_names,
    fold_name,
    is_repeated,
    is_unsorted,
    join_names,
)
from ftlab.data.folders.folder_tree import FolderTree, get_name
from ftlab.data.folders.folder_words import (
    SPLIT_ALIASES,
    UNLABELED_WORDS,
    SplitName,
    has_word,
    is_annotation_name,
    is_condition_name,
    parse_split_name,
    remove_split_word,
)
from ftlab.data.sources.listing import DatasetProblem, join_path


@dataclass(frozen=True)
class SplitGroup:
    """Folders that are the splits of one data set.

    Attributes:
        folders: names of the folders of each split, at least `train` and another one.
        leftovers: further folders whose names name a split.
    """

    folders: dict[str, list[str]]
    leftovers: list[str]


def find_split_groups(names: Sequence[str]) -> dict[tuple[str, ...], SplitGroup]:
    """Group folder names that name a split by their other words.

    Args:
        names: of all folders beside each other.

    Returns:
        By those words (`("seg",)` for `seg_train` and `seg_test`, `()` for plain names): each group that has `train`
        and another split.
    """
    parsed_by_rest: dict[tuple[str, ...], dict[str, SplitName]] = defaultdict(dict)
    for name in names:
        parsed = parse_split_name(name)
        if parsed:
            parsed_by_rest[parsed.rest][name] = parsed
    groups = {rest: _choose_folders(parsed_names) for rest, parsed_names in parsed_by_rest.items()}
    return {rest: group for rest, group in groups.items() if "train" in group.folders and len(group.folders) > 1}


def _choose_folders(parsed_names: dict[str, SplitName]) -> SplitGroup:
    """Return the folders of each split: the one with the plainest name, or all that differ in further words only."""
    splits = {name: parsed.split for name, parsed in parsed_names.items()}
    test_names = [name for name, split in splits.items() if split == "test"]
    evaluation_names = [name for name in test_names if parsed_names[name].alias in ("eval", "evaluation", "evaluate")]
    # Beside a test split, "evaluation" means validation.
    if "val" not in splits.values() and 0 < len(evaluation_names) < len(test_names):
        splits |= dict.fromkeys(evaluation_names, "val")
    folders: dict[str, list[str]] = {}
    for split in SPLIT_ALIASES:
        candidates = sorted(
            (parsed_names[name].rank, i) for i, name in enumerate(parsed_names) if splits[name] == split
        )
        if candidates:
            best_rank = candidates[0][0]
            names = list(parsed_names)
            best_names = [names[i] for rank, i in candidates if rank == best_rank]
            folders[split] = best_names[:1] if best_rank < 10 else best_names
    chosen = {name for names in folders.values() for name in names}
    return SplitGroup(folders, [name for name in parsed_names if name not in chosen])


def read_split_folders(tree: FolderTree, path: str) -> FolderReading | None:
    """Return the reading of split folders that lie in a folder; None where their names are not those of splits.

    Args:
        tree: the folders.
        path: POSIX path of the folder.

    Returns:
        The reading.

    Raises:
        AmbiguousFoldersError: the folders are splits of several data sets.
    """
    names = tree.list_folder(path).folders
    groups = find_split_groups(names)
    # Further words are no accident only if the folders have images; plain names may be empty.
    used_groups = {
        rest: group
        for rest, group in groups.items()
        if not rest
        or all(
            any(tree.has_images(join_path(path, name)) for name in folder_names)
            for folder_names in group.folders.values()
        )
    }
    if not used_groups:
        unlike_group = _find_unlike_splits(tree, path, names)
        return _read_group(tree, path, unlike_group) if unlike_group else None
    if () in used_groups:
        group = used_groups[()]
        if _are_classes(tree, path, group):
            return None
        return _read_group(tree, path, group)
    if len(used_groups) == 1:
        return _read_group(tree, path, next(iter(used_groups.values())))
    folders = [name for group in used_groups.values() for names in group.folders.values() for name in names]
    if any(not is_unsorted(tree, join_path(path, name)) for name in folders):
        raise AmbiguousFoldersError("sets", tree.root, path, folders)
    return _read_classes_in_names(path, used_groups)


def _find_unlike_splits(tree: FolderTree, path: str, names: Sequence[str]) -> SplitGroup | None:
    """Return folders such as `train_mini` beside `val`, which differ in further words but hold the same classes.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of all folders.

    Returns:
        The group; None where a split has two folders, or their class folders do not agree.
    """
    splits = {
        name: parsed.split
        for name in names
        if (parsed := parse_split_name(name)) and not is_unsorted(tree, join_path(path, name))
    }
    if "train" not in splits.values() or len(splits) < 2 or len(set(splits.values())) < len(splits):
        return None
    inner_paths = [tree.enter_wrappers(join_path(path, name)) for name in splits]
    if not find_common_names([tree.list_subfolders(inner_path) for inner_path in inner_paths]):
        return None
    return SplitGroup({split: [name] for split in SPLIT_ALIASES for name in splits if splits[name] == split}, [])


def _are_classes(tree: FolderTree, path: str, group: SplitGroup) -> bool:
    """Return whether folders with plain split names are classes, as `train` beside `car`, `plane` and `test`.

    They are if neither they nor at least two further folders hold class folders.
    """
    chosen = [name for folder_names in group.folders.values() for name in folder_names]
    others = [
        name
        for name in tree.list_subfolders(path)
        if name not in chosen
        and not parse_split_name(name)
        and not has_word(name, UNLABELED_WORDS)
        and not is_annotation_name(name)
    ]
    return len(others) > 1 and all(is_unsorted(tree, join_path(path, name)) for name in (*chosen, *others))


def _read_group(tree: FolderTree, path: str, group: SplitGroup) -> FolderReading:
    """Return the reading of a group of split folders; splits without class folders are left out and reported."""
    chosen = [name for names in group.folders.values() for name in names]
    reading = FolderReading("split_names", {"names": join_names(chosen)}, containers=[path])
    for name in tree.list_folder(path).folders:
        # A class folder next to `train/` is most likely misplaced; without this message nobody would miss it.
        if name not in chosen and tree.has_images(join_path(path, name)):
            train_name = group.folders["train"][0]
            reading.problems.append(DatasetProblem(join_path(path, name), "beside", {"train": train_name}))
    for split, names in group.folders.items():
        for name in names:
            _add_split_folder(tree, reading, split, join_path(path, name))
    if len(reading.split_folders) == 1:
        reading.reason, reading.values = "only_train", {"names": join_names(group.folders["train"])}
    inner_names = find_inner_names(tree, [folder.path for folder in reading.class_folders if folder.split == "train"])
    if len(inner_names) > 1 and not all(map(is_condition_name, inner_names)):
        reading.reason, reading.values = f"{reading.reason}_deep", {**reading.values, "inner": join_names(inner_names)}
    return reading


def _add_split_folder(tree: FolderTree, reading: FolderReading, split: str, path: str) -> None:
    """Add the classes of a split folder to a reading, or a problem if it has images but no class folders.

    Args:
        tree: the folders.
        reading: changed in place; the training split comes first.
        split: name of the split.
        path: POSIX path of the folder.
    """
    inner_path = tree.enter_wrappers(path)
    train_names = {fold_name(folder.name) for folder in reading.class_folders if folder.split == "train"}
    # A lone class of the training split is no wrapper, whatever its name.
    if any(fold_name(name) in train_names for name in tree.list_subfolders(path)):
        inner_path = path
    subfolders = tree.list_subfolders(inner_path)
    has_only_repetition = (
        len(subfolders) == 1
        and is_repeated(subfolders[0], get_name(inner_path))
        and fold_name(subfolders[0]) not in train_names
    )
    if not tree.has_images(path) or not (has_only_repetition or not subfolders):
        reading.add_container(tree, split, inner_path)
    elif split == "train":
        # Without class folders: the images are reported as those of no class.
        unsorted_path = join_path(inner_path, subfolders[0]) if subfolders else inner_path
        reading.split_folders[split] = unsorted_path
        reading.containers.append(unsorted_path)
    else:
        count = len(tree.list_files(path))
        reading.problems.append(DatasetProblem(path, "unlabeled_split", {"count": count, "split": split}))


def _read_classes_in_names(path: str, groups: dict[tuple[str, ...], SplitGroup]) -> FolderReading | None:
    """Return the reading of folders such as `train_cats`, `train_dogs`, `test_cats`, `test_dogs`.

    Args:
        path: POSIX path of the folder that holds them.
        groups: at least two groups of split folders.

    Returns:
        The reading, or None where the groups do not have the same splits.
    """
    if len({tuple(group.folders) for group in groups.values()}) > 1:
        return None
    names = [name for group in groups.values() for folder_names in group.folders.values() for name in folder_names]
    reading = FolderReading("classes_in_names", {"names": join_names(names)}, containers=[path])
    for group in groups.values():
        train_name = group.folders["train"][0]
        parsed = parse_split_name(train_name)
        class_name = remove_split_word(train_name, parsed.alias) if parsed else train_name
        for split, folder_names in group.folders.items():
            reading.split_folders.setdefault(split, path)
            reading.class_folders += [ClassFolder(split, class_name, join_path(path, name)) for name in folder_names]
    return reading


def read_splits_in_classes(tree: FolderTree, path: str, names: Sequence[str]) -> FolderReading | None:
    """Return the reading of class folders that hold split folders each, such as `cats/train` and `cats/test`.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds the class folders.
        names: of the class folders.

    Returns:
        The reading; None where not every folder holds `train` and another split.

    Raises:
        AmbiguousFoldersError: the folders are data sets: their splits hold class folders.
    """
    groups = {}
    for name in names:
        inner_path = tree.enter_wrappers(join_path(path, name))
        inner_names = tree.list_subfolders(inner_path)
        group = find_split_groups(inner_names).get(())
        if group is None or group.leftovers or len(inner_names) != sum(map(len, group.folders.values())):
            return None
        groups[name] = inner_path, group
    if len(groups) < 2:
        return None
    split_paths = [
        join_path(inner_path, folder)
        for inner_path, group in groups.values()
        for folders in group.folders.values()
        for folder in folders
    ]
    if find_common_names([tree.list_subfolders(tree.enter_wrappers(split_path)) for split_path in split_paths]):
        raise AmbiguousFoldersError("sets", tree.root, path, list(groups))
    split_names = list(dict.fromkeys(map(get_name, split_paths)))
    reading = FolderReading("splits_in_classes", {"names": join_names(split_names)}, containers=[path])
    for name, (inner_path, group) in groups.items():
        for split, folders in group.folders.items():
            reading.split_folders.setdefault(split, path)
            reading.class_folders += [ClassFolder(split, name, join_path(inner_path, folder)) for folder in folders]
    return reading
