"""Splits that values and file names of lists name: `Training`, `train.csv`, `test_labels.csv`. No torch."""

from __future__ import annotations

import re
from pathlib import Path

_SPLIT_BY_WORD = {
    word: split
    for split, words in {
        "train": ("train", "training", "trn", "trainval", "trainset", "trainingset", "traindata"),
        "val": ("val", "valid", "validation", "dev", "validate", "valset"),
        "test": ("test", "testing", "evaluation", "eval", "testset", "testdata"),
    }.items()
    for word in words
}
_SUBMISSION_WORDS = frozenset(("submission", "submissions", "submit", "samplesubmission"))
_CASE_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")


def parse_split(value: str) -> str:
    """Return the split that a value names, regardless of case; "" for none."""
    return _SPLIT_BY_WORD.get(value.strip().casefold(), "")


def find_split(name: str) -> str:
    """Return the split that one of the words of a name names, such as `train-2023`; "" for none or several."""
    splits = {split for word in _split_words(name) if (split := parse_split(word))}
    return splits.pop() if len(splits) == 1 else ""


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
    return not _SUBMISSION_WORDS.isdisjoint(_split_words(file.stem))


def _split_words(name: str) -> list[str]:
    """Return the words of a name, in lower case and without digits."""
    return re.findall(r"[^\W\d_]+", _CASE_BOUNDARY.sub(" ", name).casefold())
