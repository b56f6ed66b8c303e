"""A person's classes among ImageNet's thousand, by their names: a network that knows "ant" need not learn "ants" anew.

The names are those of torchvision's weights; synonyms and WordNet's numbers, those that timm ships.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

_IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "oxen": "ox",
    "people": "person", "teeth": "tooth", "women": "woman",
}  # fmt: skip
_ENDINGS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("es", ""), ("s", ""))
"""Plural endings and what stands there in the singular; what is tried must be a name of ImageNet's to count."""


@cache
def categories() -> tuple[str, ...]:
    """The names of the thousand classes, in the order of the weights."""
    from torchvision.models import ResNet18_Weights

    return tuple(str(name) for name in ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def match(classes: Sequence[str]) -> dict[int, int]:
    """Which classes are ImageNet's by name: index of the class -> index in ImageNet.

    Upper and lower case, spaces, underscores and hyphens do not count, nor does the plural; of a name with commas each
    part is tried. A name that several of the thousand go by (crane: a bird, a machine) matches none.
    """
    found = ((index, _find(name)) for index, name in enumerate(classes))
    return {index: there for index, there in found if there is not None}


def _find(name: str) -> int | None:
    names = _names()
    parts = [name, *name.split(",")]
    for forms in ([_key(part) for part in parts], [form for part in parts for form in _singulars(part)]):
        hits = {names[form] for form in forms if form in names}
        if hits:
            return hits.pop() if len(hits) == 1 else None
    return None


@cache
def _names() -> dict[str, int | None]:
    """Every name of the thousand, as `_key` writes it; None where two go by it. A class's first name outdoes what is
    another's synonym."""
    from timm.data import ImageNetInfo

    known = ImageNetInfo("imagenet1k")
    firsts: dict[str, set[int]] = {}
    others: dict[str, set[int]] = {}
    for index, name in enumerate(categories()):
        synonyms = known.index_to_description(index).split(",")
        for one in (name, synonyms[0], known.index_to_label_name(index)):
            firsts.setdefault(_key(one), set()).add(index)
        for one in (name, *synonyms):
            for form in (_key(one), *_singulars(one)):
                others.setdefault(form, set()).add(index)
    together = {**others, **firsts}
    return {key: next(iter(hits)) if len(hits) == 1 else None for key, hits in together.items()}


def _key(name: str) -> str:
    """A name without all that does not count."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return re.sub(r"[\W_]+", "", plain)


def _singulars(name: str) -> Iterator[str]:
    """What a name could be in the singular."""
    words = re.split(r"[\W_]+", name.casefold().strip())
    last = words[-1]
    if last in _IRREGULAR:
        yield _key("".join([*words[:-1], _IRREGULAR[last]]))
    for plural, single in _ENDINGS:
        if last.endswith(plural) and len(last) > len(plural) + 1 and not last.endswith("ss"):
            yield _key("".join([*words[:-1], last.removesuffix(plural) + single]))
