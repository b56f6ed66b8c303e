"""Split class folders by lists of image names, such as Food-101's `meta/train.txt`. No torch."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.folders.folder_reading import join_names
from ftlab.data.manifests.list_splits import find_list_split
from ftlab.data.manifests.text_files import read_text
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

_MIN_FOUND_SHARE = 0.9
"""Fraction of the lines that must name images for a text file to be a list of a split."""
_FIRST_SPLITS = ("test", "val", "train")
"""Splits in the order in which an image that several lists name is assigned: it must not be trained on."""


@dataclass
class ListedFolders:
    """Images of class folders by the splits that lists name.

    Attributes:
        images_by_split: images by split and class; empty where the lists are not used.
        names: path of the list of each split.
        problems: lists that are not used, and images that are in no list.
    """

    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)


def read_split_lists(files: Sequence[Path], root: Path, images_by_class: ImagesByClass) -> ListedFolders:
    """Split the images of class folders as lists of the names of each split say.

    Args:
        files: text files that are named like splits.
        root: folder that names of lists are relative to.
        images_by_class: images of the class folders.

    Returns:
        The splits; none where there is no list for `train` and another split, or several for one of them.
    """
    paths_by_key = _index_paths(images_by_class) if files else {}
    listed_paths = {file: _read_paths(file, paths_by_key) for file in files}
    lists_by_split: dict[str, list[Path]] = defaultdict(list)
    for file, paths in listed_paths.items():
        if paths:
            lists_by_split[find_list_split(file, root)].append(file)
    listed = ListedFolders()
    names = {file: file.relative_to(root).as_posix() for lists in lists_by_split.values() for file in lists}
    if any(len(lists) > 1 for lists in lists_by_split.values()):
        values: dict[str, str | int] = {"names": join_names([*names.values()]), "count": len(names)}
        listed.problems.append(DatasetProblem(next(iter(names.values())), "split_lists_several", values))
    elif "train" in lists_by_split and len(lists_by_split) > 1:
        listed.names = {split: names[lists[0]] for split, lists in lists_by_split.items()}
        _assign_images(
            listed, {split: listed_paths[lists[0]] for split, lists in lists_by_split.items()}, images_by_class
        )
    return listed


def _index_paths(images_by_class: ImagesByClass) -> dict[str, str]:
    """Return the path of each image by its folder and name, with and without the ending."""
    paths_by_key = {}
    for images in images_by_class.values():
        for path in images:
            key = "/".join(path.rsplit("/", 2)[-2:])
            paths_by_key[posixpath.splitext(key)[0]] = paths_by_key[key] = path
    return paths_by_key


def _read_paths(file: Path, paths_by_key: Mapping[str, str]) -> set[str]:
    """Return the images that a list names; empty for a file that is no such list."""
    try:
        lines = [line.strip() for line in read_text(file, []).splitlines() if line.strip() and not line.startswith("#")]
    except DataError:
        return set()
    keys = ("/".join(line.replace("\\", "/").rsplit("/", 2)[-2:]).lstrip("/") for line in lines)
    paths = [paths_by_key[key] for key in keys if key in paths_by_key]
    return {*paths} if paths and len(paths) >= _MIN_FOUND_SHARE * len(lines) else set()


def _assign_images(
    listed: ListedFolders, paths_by_split: Mapping[str, set[str]], images_by_class: ImagesByClass
) -> None:
    """Assign the images to splits, and report those that are in several lists or in none.

    Args:
        listed: changed in place.
        paths_by_split: images that each list names.
        images_by_class: images of the class folders.
    """
    split_by_path: dict[str, str] = {}
    for split in reversed(_FIRST_SPLITS):
        split_by_path |= dict.fromkeys(paths_by_split.get(split, ()), split)
    listed.images_by_split = {
        split: {
            name: {path: size for path, size in images.items() if split_by_path.get(path) == split}
            for name, images in images_by_class.items()
        }
        for split in reversed(_FIRST_SPLITS)
        if split in paths_by_split
    }
    first_name = listed.names["train"]
    repeated_count = sum(map(len, paths_by_split.values())) - len(split_by_path)
    if repeated_count:
        listed.problems.append(DatasetProblem(first_name, "split_lists_overlap", {"count": repeated_count}))
    missing_count = sum(map(len, images_by_class.values())) - len(split_by_path)
    if missing_count:
        listed.problems.append(DatasetProblem(first_name, "split_lists_missing", {"count": missing_count}))
