"""A person's classes among ImageNet's thousand, by their names: a network that knows "ant" need not learn "ants" anew.

The names are those of torchvision's weights; synonyms and WordNet's numbers, those that timm ships.
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
_PLURAL_ENDINGS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("es", ""), ("s", ""))
"""Plural endings and what stands there in the singular; what is tried must be a name of ImageNet's to count."""


@cache
def load_imagenet_names() -> tuple[str, ...]:
    """The names of the thousand classes, in the order of the weights."""
    from torchvision.models import ResNet18_Weights

    return tuple(str(name) for name in ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def match_imagenet_classes(class_names: Sequence[str]) -> dict[int, int]:
    """Which classes are ImageNet's by name: index of the class -> index in ImageNet.

    Upper and lower case, spaces, underscores and hyphens do not count, nor does the plural; of a name with commas each
    part is tried. A name that several of the thousand go by (crane: a bird, a machine) matches none.
    """
    matches = ((index, _find_imagenet_index(name)) for index, name in enumerate(class_names))
    return {index: imagenet_index for index, imagenet_index in matches if imagenet_index is not None}


def _find_imagenet_index(name: str) -> int | None:
    index_by_name = _index_names()
    parts = [name, *name.split(",")]
    for forms in (
        [_normalize_name(part) for part in parts],
        [form for part in parts for form in _iter_singulars(part)],
    ):
        indices = {index_by_name[form] for form in forms if form in index_by_name}
        if indices:
            return indices.pop() if len(indices) == 1 else None
    return None


@cache
def _index_names() -> dict[str, int | None]:
    """Every name of the thousand, as `_normalize_name` writes it; None where two go by it. A class's first name outdoes what is
    another's synonym."""
    from timm.data import ImageNetInfo

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
    """A name without all that does not count."""
    base_letters = "".join(
        char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char)
    )
    return re.sub(r"[\W_]+", "", base_letters)


def _iter_singulars(name: str) -> Iterator[str]:
    """What a name could be in the singular."""
    name_words = re.split(r"[\W_]+", name.casefold().strip())
    last_word = name_words[-1]
    if last_word in _IRREGULAR_PLURALS:
        yield _normalize_name("".join([*name_words[:-1], _IRREGULAR_PLURALS[last_word]]))
    for plural, singular in _PLURAL_ENDINGS:
        if last_word.endswith(plural) and len(last_word) > len(plural) + 1 and not last_word.endswith("ss"):
            yield _normalize_name("".join([*name_words[:-1], last_word.removesuffix(plural) + singular]))
