"""A sample of a shard, what names its class, and what is told of members that cannot be used. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftlab.core import json_fields
from ftlab.core.errors import ProblemMessages
from ftlab.data.images.tar_members import NamedImage

_MAX_LABEL_DIGITS = 9


@dataclass(frozen=True)
class ShardSample:
    """An image with its class.

    Attributes:
        key: of the sample.
        image: content of the image file.
        extension: of its member, lower case.
        label: class index; None where the shard has only a name that is not among the given classes.
        class_name: name of the class; None where the shard has only a label, and no classes were given.
        path: of the image before it was in a shard; "" where the shard does not say it.
        offset: position in bytes of the sample's first header.
        end_offset: position of what follows the sample, from where reading can go on.
        image_offset: position of the first byte of the image.
    """

    key: str
    image: bytes
    extension: str
    label: int | None
    class_name: str | None
    path: str
    offset: int
    end_offset: int
    image_offset: int

    @property
    def name(self) -> str:
        """Name for people: the path of the image before it was in a shard, or its key."""
        return self.path or f"{self.key}.{self.extension}"

    def open_image(self) -> NamedImage:
        """Return the image as a stream that has its name, for a decoder and its errors."""
        return NamedImage(self.image, self.name)


@dataclass(frozen=True)
class ShardProblem(ProblemMessages):
    """Something in a shard that is not used, or not whole.

    Attributes:
        file: name of the shard.
        offset: position in bytes where it stands.
        code: key of the messages `problem.<code>` and `remedy.<code>`.
        values: placeholders of the messages.
    """

    file: str
    offset: int
    code: str
    values: dict[str, str | int] = field(default_factory=dict)


def parse_class(class_text: bytes, json_text: bytes) -> tuple[int | None, str | None, str]:
    """Return label, class name and path that the members of a sample state, as far as they do.

    Args:
        class_text: content of `.cls`: a label, or a name.
        json_text: content of `.json`; anything else than an object states nothing.
    """
    try:
        values = json_fields.parse_json(json_text) if json_text else {}
    except ValueError:
        values = {}
    values = values if isinstance(values, dict) else {}
    label, class_name, path = (values.get(name) for name in ("label", "class", "path"))
    label = label if type(label) is int and label >= 0 else None
    class_name = class_name if isinstance(class_name, str) else None
    text = class_text.decode("utf-8", "replace").strip()
    if text.isascii() and text.isdigit() and len(text) <= _MAX_LABEL_DIGITS:
        label = int(text)
    elif text and class_name is None:
        class_name = text
    return label, class_name, path if isinstance(path, str) else ""


def match_class(label: int | None, class_name: str | None, classes: Sequence[str]) -> int | None:
    """Return the label of a class by its name and its label; None if it is unknown, or the two differ."""
    if class_name is not None:
        matched = classes.index(class_name) if class_name in classes else None
        return matched if label in (None, matched) else None
    return label if label is not None and label < len(classes) else None
