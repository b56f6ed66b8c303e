"""Matching of class names with the 1000 classes of ImageNet: a network that knows "ant" need not learn "ants" anew.

The class names are those of torchvision's weights; synonyms and WordNet ids are those that timm ships.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

_IRREGULAR_PLURALS = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "oxen": "ox",
    "people": "person", "teeth": "tooth", "women": "woman",
}  # fmt: skip
"""Irregular plurals and their singulars."""
_PLURAL_ENDINGS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("es", ""), ("s", ""))
"""Plural endings and their replacement in the singular; a candidate must be an ImageNet name to count."""


@cache
def load_imagenet_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes, in the order of the logits."""
    from torchvision.models import ResNet18_Weights

    return tuple(str(name) for name in ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def match_imagenet_classes(class_names: Sequence[str]) -> dict[int, int]:
    """Match classes with ImageNet's by name.

    Case, spaces, underscores, hyphens and the plural are ignored; of a name with commas each part is tried. A name of
    several ImageNet classes (crane: a bird, a machine) matches none.

    Args:
        class_names: of a person's classes.

    Returns:
        Index of the class -> index in ImageNet, for those that match.
    """
    matches = ((index, _find_imagenet_index(name)) for index, name in enumerate(class_names))
    return {index: imagenet_index for index, imagenet_index in matches if imagenet_index is not None}


def _find_imagenet_index(name: str) -> int | None:
    index_by_name = _index_names()
    parts = [name, *name.split(",")]
    # A name as it is takes precedence over its singular: "sunglass" and "sunglasses" are two classes.
    for forms in (
        [_normalize_name(part) for part in parts],
        [form for part in parts for form in _iter_singulars(part)],
    ):
        indices = {index_by_name[form] for form in forms if form in index_by_name}
        if indices:
            # Several classes by the parts of one name: none of them is meant for sure.
            return indices.pop() if len(indices) == 1 else None
    return None


@cache
def _index_names() -> dict[str, int | None]:
    """Index the 1000 classes by all their names, normalized.

    Returns:
        Index by name; None for a name of several classes. A class's first name takes precedence over another's synonym.
    """
    from timm.data.imagenet_info import ImageNetInfo

    imagenet_info = ImageNetInfo("imagenet1k")
    primary_indices: dict[str, set[int]] = {}
    synonym_indices: dict[str, set[int]] = {}
    for index, name in enumerate(load_imagenet_names()):
        synonyms = imagenet_info.index_to_description(index).split(",")
        for alias in (name, synonyms[0], imagenet_info.index_to_label_name(index)):
            primary_indices.setdefault(_normalize_name(alias), set()).add(index)
        for alias in (name, *synonyms):
            for form in (_normalize_name(alias), *_iter_singulars(alias)):
                synonym_indices.setdefault(form, set()).add(index)
    merged_indices = {**synonym_indices, **primary_indices}
    return {key: next(iter(indices)) if len(indices) == 1 else None for key, indices in merged_indices.items()}


def _normalize_name(name: str) -> str:
    """Return a name in lower case, without accents, spaces and punctuation."""
    # NFKD separates letters from their accents.
    base_letters = "".join(
        char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char)
    )
    return re.sub(r"[\W_]+", "", base_letters)


def _iter_singulars(name: str) -> Iterator[str]:
    """Yield what a name could be in the singular, normalized."""
    name_words = re.split(r"[\W_]+", name.casefold().strip())
    last_word = name_words[-1]
    if last_word in _IRREGULAR_PLURALS:
        yield _normalize_name("".join([*name_words[:-1], _IRREGULAR_PLURALS[last_word]]))
    # Words that end in "ss" are no plurals ("glass").
    for plural, singular in _PLURAL_ENDINGS:
        if last_word.endswith(plural) and len(last_word) > len(plural) + 1 and not last_word.endswith("ss"):
            yield _normalize_name("".join([*name_words[:-1], last_word.removesuffix(plural) + singular]))
