"""One picture through two models: what each says, where each finds its evidence, and whether they agree.

The two need not know the same classes: these are compared by their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.core import messages
from ftlab.data.dataset import class_names
from ftlab.inference.cam_options import How
from ftlab.inference.predictor import Explanation, Predictor, Score


@dataclass(frozen=True)
class Seen:
    """What one model says of a picture.

    Attributes:
        model: that was asked.
        scores: of all its classes, the most probable first.
        found: the map of one class.
    """

    model: Predictor
    scores: list[Score]
    found: Explanation

    @property
    def name(self) -> str:
        """Of the class whose map it is."""
        return self.model.classes[self.found.index]

    @property
    def answer(self) -> str | None:
        """The name of its most probable class; None where the model is too unsure of it to be believed."""
        return None if self.model.none_of_these(self.scores) else self.scores[0].name

    def say(self, name: str) -> str:
        """A class's name for people."""
        return _say(self.model, name)


def look(file: Path | str, model: Predictor, name: str = "", how: How = How()) -> Seen:  # noqa: B008
    """Ask one model.

    Args:
        name: of the class whose map is wanted; one that the model does not know, and an empty one, give the map of its
            most probable class.

    Raises:
        PictureError: the file is no picture that can be read.
        ConfigError: the layer looked at does not exist, or tells no places apart.
    """
    index = model.classes.index(name) if name in model.classes else None
    return Seen(model, *model.look(file, index, k=len(model.classes), how=how))


def sentence(one: Seen, other: Seen, called: tuple[str, str] | None = None) -> str:
    """In one line, whether the two agree, and what each says.

    Args:
        called: what the two are called in it, the first and the second unless something else is known.
    """
    first, second = called or usual()
    told = {"first": first, "second": second, "one": _said(one), "other": _said(other)}
    if one.answer is None and other.answer is None:
        return messages.text("pair.neither", **told)
    if one.answer == other.answer:
        sure = {which: messages.percent(each.scores[0].probability) for which, each in (("one", one), ("other", other))}
        return messages.text("pair.agree", name=one.say(one.scores[0].name), **{**told, **sure})
    if not set(one.model.classes) & set(other.model.classes):
        return messages.text("pair.foreign", **told)
    unknown = [
        messages.text("pair.unknown", name=mine.say(mine.answer), which=which)
        for mine, theirs, which in ((one, other, second), (other, one, first))
        if mine.answer is not None and mine.answer not in theirs.model.classes
    ]
    return " ".join([messages.text("pair.differ", **told), *unknown])


def choices(one: Predictor, other: Predictor, called: tuple[str, str] | None = None) -> list[tuple[str, str]]:
    """(what a person reads, name) of the classes whose map can be asked for: those that both know come first."""
    shared = set(one.classes) & set(other.classes)
    made = [(_say(one, name), name) for name in one.classes if name in shared]
    for which, model in zip(called or usual(), (one, other), strict=True):
        own = (name for name in model.classes if name not in shared)
        made += [(messages.text("pair.only", name=_say(model, name), which=which), name) for name in own]
    return made


def usual() -> tuple[str, str]:
    """What two are called of which nothing else is known."""
    return messages.text("pair.one"), messages.text("pair.other")


def _said(seen: Seen) -> str:
    first = seen.scores[0]
    key = "pair.unsure" if seen.answer is None else "pair.answer"
    return messages.text(key, name=seen.say(first.name), percent=messages.percent(first.probability))


def _say(model: Predictor, name: str) -> str:
    return messages.one_line(class_names.say(name, model.names))
