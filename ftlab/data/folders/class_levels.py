"""Read one level of folders as the classes: the outer one, or the one in it where names say so. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.data.folders.folder_reading import AmbiguousFoldersError, FolderReading, is_unsorted, join_names
from ftlab.data.folders.folder_tree import FolderTree
from ftlab.data.folders.folder_words import (
    CONDITION_WORDS,
    IMAGE_WORDS,
    is_part_name,
    parse_split_name,
    split_words,
)
from ftlab.data.sources.listing import join_path


def read_classes(
    tree: FolderTree, path: str, reason: str, values: dict[str, str], skipped_names: Sequence[str] = ()
) -> FolderReading:
    """Return the reading in which each folder is a class with all that is below it.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        reason: see `FolderReading`; where classes have sub-folders, the reason that mentions them is taken instead.
        values: see `FolderReading`.
        skipped_names: folders that are no classes.

    Returns:
        The reading.
    """
    inner_names = find_inner_names(
        tree, [join_path(path, name) for name in tree.list_folder(path).folders if name not in skipped_names]
    )
    if reason == "class_folders" and inner_names:
        reason, values = "class_folders_deep", {"inner": join_names(inner_names)}
    elif reason == "class_folders" and path:
        reason, values = "class_folders_in", {"folder": path}
    reading = FolderReading(reason, values)
    reading.add_container(tree, "train", path, skipped_names)
    return reading


def find_inner_names(tree: FolderTree, paths: Sequence[str]) -> list[str]:
    """Return the names of the folders in class folders, each once; wrappers are entered."""
    return list(dict.fromkeys(name for path in paths for name in tree.list_subfolders(tree.enter_wrappers(path))))


def read_inner_classes(tree: FolderTree, path: str, reason: str) -> FolderReading:
    """Return the reading in which the folders in the folders are the classes, merged by name.

    Args:
        tree: the folders.
        path: POSIX path of the outer folder.
        reason: see `FolderReading`.

    Returns:
        The reading.
    """
    names = tree.list_subfolders(path)
    reading = FolderReading(reason, {"names": join_names(names)}, {"train": path}, containers=[path])
    for name in names:
        outer_path = tree.enter_wrappers(join_path(path, name))
        container = FolderReading(reason)
        container.add_container(tree, "train", outer_path)
        reading.containers += container.containers
        reading.class_folders += container.class_folders
    return reading


def read_named_groups(tree: FolderTree, path: str, names: Sequence[str]) -> FolderReading | None:
    """Return the reading of folders whose names say that they only group classes or images.

    Args:
        tree: the folders.
        path: POSIX path of the folder that holds them.
        names: of the folders.

    Returns:
        The reading; None where the names do not say so.

    Raises:
        AmbiguousFoldersError: the folders are parts of a data set without class folders.
    """
    inner_names = {name: tree.list_subfolders(tree.enter_wrappers(join_path(path, name))) for name in names}
    are_outer = bool(names) and all(len(inner) > 1 for inner in inner_names.values())
    # A letter may have a single class.
    is_index = any(len(inner) > 1 for inner in inner_names.values()) and all(
        len(name) == 1 and inner and all(inner_name.casefold().startswith(name.casefold()) for inner_name in inner)
        for name, inner in inner_names.items()
    )
    are_sets = are_outer and all(_is_set_name(name) for name in names)
    if len(names) > 1 and (is_index or are_sets):
        return read_inner_classes(tree, path, "index_folders" if is_index else "set_folders")
    are_unsorted = all(is_unsorted(tree, join_path(path, name)) for name in names)
    # Splits of one data set have the same other words: `cars_train` and `cars_test`, not `crash test` and `test tube`.
    # `resized_train` and `resized_train_cropped` are variants of one split.
    rests = {
        tuple(word for word in parsed.rest if word not in CONDITION_WORDS)
        for name in names
        if (parsed := parse_split_name(name))
    }
    if names and are_unsorted and len(rests) < 2 and all(_holds_unsorted_images(name) for name in names):
        if len(names) > 1:
            raise AmbiguousFoldersError("parts", tree.root, path, names)
        reading = FolderReading("class_folders", split_folders={"train": path})
        reading.containers += [path, join_path(path, names[0])]
        return reading
    return None


def _is_set_name(name: str) -> bool:
    """Return whether a name is that of a collection, such as `lung_image_sets` or `part2`."""
    return is_part_name(name) or not {"set", "sets", "dataset", "datasets", "images"}.isdisjoint(split_words(name))


def _holds_unsorted_images(name: str) -> bool:
    """Return whether a folder of images has a name that no class has: `images`, `jpg`, `part_1`, `train_images`."""
    words = [word for word in split_words(name) if not word.isdigit()]
    return is_part_name(name) or bool(parse_split_name(name)) or (bool(words) and IMAGE_WORDS.issuperset(words))
