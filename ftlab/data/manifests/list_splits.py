"""Splits that values, file names and paths of lists name: `Training`, `train.csv`, `test_labels.csv`. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftlab.data.folders.folder_words import SplitName, parse_split_name, split_words

_COMPETITION_SPLITS = {"publictest": "val", "privatetest": "test"}
"""Splits of competitions by which the public and the final ranking are made, as FER2013 names them."""
_SUBMISSION_WORDS = frozenset(("submission", "submissions", "submit", "samplesubmission"))
_LIST_FOLDER_WORDS = frozenset(
    (
        *("annotation", "annotations", "anno", "annos", "label", "labels", "meta", "metadata", "list", "lists"),
        *("split", "splits", "groundtruth", "groundtruths", "gt", "partition", "partitions"),
        *("data", "dataset", "csv", "csvs", "info", "main"),
        *("image", "images", "img", "imgs", "imagesets", "imagelists", "devkit"),
    )
)
"""Words of folders in which lists lie, besides names of splits; a class folder is not searched."""
_PARTITION_WORDS = frozenset(("partition", "partitions", "split", "splits"))
_PARTITION_VALUES = frozenset(("0", "1", "2"))
_MAX_PATH_PARTS = 6
"""Folders of a path that may be splits, from its beginning."""
_SAMPLE_PATHS = 200
"""Paths that are looked at first: most lists have no splits in them."""


def parse_split(value: str) -> str:
    """Return the split that a value names, regardless of case; "" for none, or if it has other words too."""
    parsed = parse_split_name(value.strip())
    if parsed and not parsed.rest:
        return parsed.split
    return _COMPETITION_SPLITS.get("".join(split_words(value)), "")


def find_split(name: str) -> str:
    """Return the split that one of the words of a name names, such as `train-2023`; "" for none or several."""
    parsed = parse_split_name(name)
    return parsed.split if parsed else ""


def find_list_split(file: Path, root: Path) -> str:
    """Return the split that a list names: by its own name, else by that of its folder below the root; "" for none.

    Args:
        file: the list.
        root: root of the data set.
    """
    is_below_root = file.parent != root and file.is_relative_to(root)
    return find_split(file.stem) or (find_split(file.parent.name) if is_below_root else "")


def is_submission(file: Path) -> bool:
    """Return whether a list is an example of what a competition expects: its labels are not real."""
    return not _SUBMISSION_WORDS.isdisjoint(split_words(file.stem))


def is_partition(file: Path, values: Sequence[str]) -> bool:
    """Return whether numbers in a list are splits by its name, as in CelebA's `list_eval_partition.txt`; not labels.

    Args:
        file: the list.
        values: of its only column beside the images.
    """
    return not _PARTITION_WORDS.isdisjoint(split_words(file.stem)) and _PARTITION_VALUES.issuperset(values)


def may_hold_lists(folder_name: str) -> bool:
    """Return whether a folder is worth a look: named after a split or after what lies beside images."""
    return bool(find_split(folder_name)) or not _LIST_FOLDER_WORDS.isdisjoint(split_words(folder_name))


def find_path_splits(paths: Sequence[str]) -> list[str]:
    """Return the split of each path, where all of them have one at the same place: `train/1.jpg`, `test_0001.jpg`.

    Args:
        paths: as written in a list.

    Returns:
        As many splits, among them `train`; empty where the paths name none, or only one.
    """
    for index in range(-1, _MAX_PATH_PARTS):
        if _parse_parts(paths[:_SAMPLE_PATHS], index) and (parsed_parts := _parse_parts(paths, index)):
            splits = [parsed.split for parsed in parsed_parts]
            is_one_kind = index >= 0 or len({parsed.rest for parsed in parsed_parts}) == 1
            if "train" in splits and len(set(splits)) > 1 and is_one_kind:
                return splits
    return []


def _parse_parts(paths: Sequence[str], index: int) -> list[SplitName]:
    """Return what the part of each path at a place names, -1 is the file name; empty where one names no split."""
    parsed_parts = []
    for path in paths:
        parts = path.replace("\\", "/").split("/")
        if index >= len(parts) - 1:
            return []
        name = parts[-1].partition(".")[0] if index < 0 else parts[index]
        parsed = parse_split_name(name)
        if parsed is None or (index >= 0 and parsed.rest):
            return []
        parsed_parts.append(parsed)
    return parsed_parts
