"""Find folders that are no classes although they hold images: masks, copies of their siblings. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ftlab.data.folders.folder_reading import find_common_names, fold_name, is_copy, join_names
from ftlab.data.folders.folder_tree import FolderTree
from ftlab.data.folders.folder_words import IMAGE_WORDS, has_word, is_annotation_name, parse_split_name, split_words
from ftlab.data.sources.listing import DatasetProblem, join_path


def find_annotations(tree: FolderTree, path: str, names: Sequence[str]) -> dict[str, DatasetProblem]:
    """Find folders of masks and annotations beside a folder of images, or beside one with the same class folders.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        A problem by name of each.
    """
    annotation_names = [name for name in names if is_annotation_name(name)]
    others = [name for name in names if name not in annotation_names]
    has_images_folder = any(has_word(name, IMAGE_WORDS) for name in others)
    problems = {}
    for name in annotation_names:
        inner_names = tree.list_subfolders(join_path(path, name))
        agrees = any(find_common_names([inner_names, tree.list_subfolders(join_path(path, other))]) for other in others)
        if has_images_folder or agrees:
            count = len(tree.list_files(join_path(path, name)))
            problems[name] = DatasetProblem(join_path(path, name), "masks", {"count": count})
    return problems


def find_nested_copies(tree: FolderTree, path: str, names: Sequence[str]) -> dict[str, DatasetProblem]:
    """Find folders that hold folders named like their own siblings, as `more/yes` and `more/no` beside `yes` and `no`.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        A problem by name of each.
    """
    problems = {}
    all_names = {*map(fold_name, names)}
    for name in names:
        inner_path = tree.enter_wrappers(join_path(path, name))
        inner_names = tree.list_subfolders(inner_path)
        if len(inner_names) > 1 and all_names - {fold_name(name)} >= {*map(fold_name, inner_names)}:
            code = "copy" if is_copy(tree, inner_path, path, inner_names) else "nested_classes"
            values: dict[str, str | int] = {"names": join_names(inner_names)}
            problems[name] = DatasetProblem(join_path(path, name), code, values)
    return problems


def find_copies(tree: FolderTree, path: str, names: Sequence[str]) -> dict[str, DatasetProblem]:
    """Find folders that hold the same class folders with the same files as an earlier sibling.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        A problem by name of each.
    """
    problems: dict[str, DatasetProblem] = {}
    originals: dict[frozenset[str], list[str]] = defaultdict(list)
    for name in names:
        inner_path = tree.enter_wrappers(join_path(path, name))
        inner_names = tree.list_subfolders(inner_path)
        if len(inner_names) < 2:
            continue
        candidates = originals[frozenset(map(fold_name, inner_names))]
        original = next(
            (
                candidate
                for candidate in candidates
                if is_copy(tree, inner_path, tree.enter_wrappers(join_path(path, candidate)), inner_names)
            ),
            None,
        )
        if original is None:
            candidates.append(name)
        else:
            problems[name] = DatasetProblem(join_path(path, name), "copy", {"names": original})
    return problems


def find_split_names(path: str, names: Sequence[str]) -> list[DatasetProblem]:
    """Return a problem for each class that is named like a split."""
    # "Test cases" beside "Normal cases": what all names share says nothing.
    shared_words = set.intersection(*(set(split_words(name)) for name in names)) if names else set()
    return [
        DatasetProblem(join_path(path, name), "class_named_split", {"split": parsed.split})
        for name in names
        if (parsed := parse_split_name(name)) and shared_words.issuperset(parsed.rest) and parsed.split != "train"
    ]
