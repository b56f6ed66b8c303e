"""What the name of a folder says about its content: a split, pictures, annotations, a part. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

SPLIT_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "holdout", "evaluation", "eval"),
}
"""Names of each split in the lists and folders of torchvision, Keras, Hugging Face, ultralytics and Kaggle, lower case;
where a folder has several of them, the first one counts.
"""
IMAGE_WORDS = frozenset(
    ("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "pic", "pics", "jpg", "jpeg", "png")
)
ANNOTATION_WORDS = frozenset(
    (
        *("mask", "masks", "trimap", "trimaps", "annotation", "annotations", "segmentation", "segmentations"),
        *("segmentationclass", "segmentationobject", "groundtruth", "gt", "label", "labels", "bbox", "bboxes", "xml"),
        *("thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews"),
    )
)
UNLABELED_WORDS = frozenset(
    (
        *("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "submission", "inference"),
        *("demo", "meta", "unseen"),
    )
)
"""Words for pictures without a class, which a data set brings along."""
PART_WORDS = frozenset(("part", "parts", "fold", "folds", "batch", "chunk", "shard", "kfold", "crossval"))
CONDITION_WORDS = frozenset(
    (
        *("color", "colour", "rgb", "gray", "grey", "grayscale", "greyscale", "segmented", "cropped", "crop", "crops"),
        *("augmented", "aug", "original", "originals", "raw", "resized", "processed", "preprocessed", "normalized"),
        *("aligned", "unaligned"),
        *("sample", "samples", "session", "sequence", "seq", "frame", "frames", "left", "right", "depth"),
    )
)
"""Words for sub-folders that hold variants or series of one class."""
SUBJECT_WORDS = frozenset(
    ("patient", "patients", "pat", "pid", "subject", "subj", "participant", "volunteer", "case", "study", "slide")
)
"""Words for folders of one person or one recording each, if a number follows."""
_GENERIC_WORDS = IMAGE_WORDS | frozenset(
    (
        *("set", "sets", "data", "dataset", "datasets", "split", "splits", "subset", "partition", "folder", "dir"),
        *("input", "inputs", "my", "the", "all", "master", "main", "of"),
    )
)
"""Words that tell two folders of one data set apart from nothing."""
_SPLIT_BY_WORD = {
    **{alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases},
    **{"trn": "train", "trainval": "train", "minival": "val", "validate": "val", "evaluate": "test"},
}
_COMPOUND_PATTERN = re.compile(r"(train|training|val|valid|validation|test|testing)(set|data|images?|imgs?)")
_CASE_BOUNDARY_PATTERN = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOKEN_PATTERN = re.compile(r"[^\W\d_]+|\d+")
_ENUMERATOR_PATTERN = re.compile(r"\W*(?:\d+|[^\W\d_])[.)]\s*")
"""What numbers the folders of one level: `1. Original Images`, `b) Testing Set`."""


@dataclass(frozen=True)
class SplitName:
    """Result of `parse_split_name`.

    Attributes:
        split: `train`, `val` or `test`.
        rest: the other words of the name, without generic ones (`set`, `images` …) and numbers, lower case.
        rank: position among the aliases of the split for a plain alias; larger for names with further words.
        alias: the word that names the split.
    """

    split: str
    rest: tuple[str, ...]
    rank: int
    alias: str

    @property
    def is_plain(self) -> bool:
        """Return whether the name is an alias and nothing else."""
        return self.rank < 10


def split_words(name: str) -> list[str]:
    """Return the words and numbers of a name, lower case: `TrainingSet-2` gives `["training", "set", "2"]`."""
    spaced_name = _CASE_BOUNDARY_PATTERN.sub(" ", re.sub(r"(?i)hold[\W_]?out", "holdout", name))
    words: list[str] = []
    for word in map(str.casefold, _TOKEN_PATTERN.findall(spaced_name)):
        compound = _COMPOUND_PATTERN.fullmatch(word)
        words += compound.groups() if compound else [word]
    return words


@lru_cache(maxsize=4096)
def parse_split_name(name: str) -> SplitName | None:
    """Return the split that a folder name names, such as `train-2023`, `my_test_images` or `seg_train`; None for none.

    A name with words of `train` and `val` is a training split; other combinations name none.
    """
    words = split_words(_ENUMERATOR_PATTERN.sub("", name, count=1) if _ENUMERATOR_PATTERN.match(name) else name)
    split_by_word = {word: _SPLIT_BY_WORD[word] for word in words if word in _SPLIT_BY_WORD}
    splits = set(split_by_word.values())
    if not splits or (len(splits) > 1 and splits != {"train", "val"}):
        return None
    split = "train" if "train" in splits else next(iter(splits))
    alias = next(word for word, named_split in split_by_word.items() if named_split == split)
    rest = tuple(
        word for word in words if word not in split_by_word and word not in _GENERIC_WORDS and not word.isdigit()
    )
    if name.casefold() in SPLIT_ALIASES[split]:
        rank = SPLIT_ALIASES[split].index(name.casefold())
    else:
        rank = 10 if all(word in split_by_word or word.isdigit() for word in words) else 20
    return SplitName(split, rest, rank, alias)


def remove_split_word(name: str, alias: str) -> str:
    """Return a folder name without the word that names its split: `train_cats` gives `cats`.

    Args:
        name: of the folder.
        alias: the word, lower case.

    Returns:
        The rest without separators at its ends.
    """
    return re.sub(rf"(?i)[\W_]*{re.escape(alias)}[\W_]*", " ", name, count=1).strip(" -_.")


def has_word(name: str, words: frozenset[str]) -> bool:
    """Return whether one of the words of a name is in `words`."""
    return not words.isdisjoint(split_words(name))


def is_wrapper_name(name: str, parent_name: str) -> bool:
    """Return whether a folder that lies alone in another one only wraps it.

    Args:
        name: of the folder.
        parent_name: name of the folder that contains it.

    Returns:
        True for a repeated name (`seg_train/seg_train`), a split name, and a name such as `images` or `data`.
    """
    return name.casefold() == parent_name.casefold() or bool(parse_split_name(name)) or has_word(name, _GENERIC_WORDS)


def is_annotation_name(name: str) -> bool:
    """Return whether a name ends with a word for masks or other annotations: `masks`, `lung masks`."""
    words = [word for word in split_words(name) if not word.isdigit()]
    return bool(words) and (words[-1] in ANNOTATION_WORDS or "".join(words[-2:]) in ANNOTATION_WORDS)


def is_part_name(name: str) -> bool:
    """Return whether a name is that of one part of a data set: `fold1`, `HAM10000_images_part_1`, `images_001`."""
    words = split_words(name)
    has_number = any(word.isdigit() for word in words) or (len(words) > 1 and len(words[-1]) == 1)
    return has_number and not (PART_WORDS | IMAGE_WORDS | {"split", "subset", "dataset"}).isdisjoint(words)


def are_subject_names(names: Collection[str]) -> bool:
    """Return whether names are those of patients or recordings, such as `patient00001`, and not of classes."""
    word_lists = [split_words(name) for name in names]
    return len(word_lists) > 1 and all(
        len(words) == 2 and words[0] in SUBJECT_WORDS and words[1].isdigit() for words in word_lists
    )


def is_condition_name(name: str) -> bool:
    """Return whether a name is that of a variant or series within a class: `cropped`, `sample_a`, `40X`, `2021`."""
    words = split_words(name)
    if re.fullmatch(r"\d+x|(19|20)\d\d([-_. ]?\d\d){0,2}", name.casefold()):
        return True
    return is_part_name(name) or not (CONDITION_WORDS | IMAGE_WORDS | ANNOTATION_WORDS).isdisjoint(words)
