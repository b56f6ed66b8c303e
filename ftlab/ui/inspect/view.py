"""An evaluation as the Inspect tab shows it. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import messages
from ftlab.core.html import Markup, isolated, join, tag
from ftlab.core.messages import percent
from ftlab.data.images.thumbnails import thumbnails, uri
from ftlab.evaluation.evaluate import Inspection
from ftlab.reporting.html import parts
from ftlab.reporting.html.parts import Say

if TYPE_CHECKING:
    from ftlab.inference.predictor import Explanation

PAGE = 24
"""Pictures at a time."""
FILES = {
    "report": "report.html",
    "table": "pictures.csv",
    "table_classes": "classes.csv",
    "table_matrix": "confusion.csv",
    "figure_matrix": "confusion.png",
    "figure_classes": "classes.png",
    "figure_reliability": "reliability.png",
}
"""What can be taken along: key of the words below `inspect`, and name of the file."""


def card(title: str, content: Markup, about: str = "") -> Markup:
    """A part of the tab under its title; `title` and `about` are keys of the words below `inspect`."""
    said = tag("p", messages.text(f"inspect.{about}"), class_="sub") if about else ""
    heading = tag("h3", messages.text(f"inspect.{title}"))
    return tag("section", heading, said, content, class_="ftlab-card ftlab-inspected")


def scores(found: Inspection) -> Markup:
    """The cards of figures; and, where the pictures are not there any more, that they are not."""
    outcome = found.outcome
    gone = not any(outcome.path(index).exists() for index in (0, len(outcome.paths) // 2, -1))
    note = messages.text("inspect.gone_all", folder=messages.one_line(outcome.root.name)) if gone else ""
    return join([parts.scores(found), tag("p", note, class_="ftlab-notice") if gone else ""])


def matrix(found: Inspection, say: Say) -> Markup:
    """The confusions, each a button."""
    return card("confusions", parts.matrix(found, say, pressable=True), "matrix.how")


def classes(found: Inspection, say: Say) -> Markup:
    """The classes one by one."""
    table = parts.classes(found, say, sortable=True)
    scroll = tag(
        "div", table, class_="ftlab-scroll", tabindex="0", role="region", aria_label=messages.text("inspect.classes")
    )
    return card("classes", scroll)


def calibrated(found: Inspection) -> Markup:
    """How far to believe the probabilities."""
    return card("calibration", parts.calibrated(found))


def gallery(found: Inspection, chosen: Sequence[int], page: int, say: Say, title: str) -> Markup:
    """Some of the chosen pictures, each a button.

    Args:
        chosen: indices of all of them.
        page: 0, 1 …; it begins again behind the last one.
        title: which they are.
    """
    if not chosen:
        said = tag("p", messages.text("inspect.none_here"), class_="sub")
        return tag("section", tag("h3", title), said, class_="ftlab-card ftlab-inspected")
    first = page % pages(len(chosen)) * PAGE
    some = chosen[first : first + PAGE]
    count = messages.text("inspect.shown", shown=_span(first, len(some), len(chosen)), total=f"{len(chosen):,}")
    made = thumbnails([found.outcome.path(index) for index in some])
    return tag(
        "section",
        tag("h3", title),
        tag("p", count, " · ", messages.text("inspect.press"), class_="sub"),
        parts.grid(found, some, made, say, pressable=True),
        class_="ftlab-card ftlab-inspected",
    )


def pages(count: int) -> int:
    """Pages that so many pictures fill."""
    return max(1, -(-count // PAGE))


def _span(first: int, shown: int, total: int) -> str:
    return str(shown) if shown == total else f"{first + 1}–{first + shown}"


def cell_title(found: Inspection, true: int, predicted: int, say: Say) -> str:
    """Which pictures a confusion holds."""
    names = found.outcome.classes
    key = "inspect.cell_right" if true == predicted else "inspect.cell_wrong"
    return messages.text(
        key, true=messages.one_line(say(names[true])), predicted=messages.one_line(say(names[predicted]))
    )


def pair(found: Inspection, index: int, looks: Sequence[Explanation], say: Say) -> Markup:
    """A picture under the evidence for its true class, and beside it under that for the class it was named (or, where
    the two are one, that comes next)."""
    true, named = int(found.outcome.labels[index]), int(found.outcome.predicted[index])
    keys = ("both", "next") if true == named else ("true", "predicted")
    figures = (_looked(found, index, one, key, say) for one, key in zip(looks, keys, strict=False))
    path = tag("code", isolated(found.outcome.paths[index], path=True))
    return tag(
        "section",
        tag("h3", messages.text("inspect.pair.title")),
        tag("p", path, class_="sub"),
        tag("div", *figures, class_="ftlab-looked"),
        class_="ftlab-card ftlab-inspected ftlab-overlay",
    )


def _looked(found: Inspection, index: int, look: Explanation, key: str, say: Say) -> Markup:
    from ftlab.inference import heatmap

    height, width = look.picture.shape[:2]
    name = messages.one_line(say(found.outcome.classes[look.index]))
    said = messages.text(f"inspect.pair.{key}", name=name)
    sure = messages.text("inspect.pair.sure", sure=percent(float(found.probabilities[index, look.index])))
    source = uri(look.picture, quality=90)
    layers = [
        tag("img", src=source, alt=messages.text("inspect.pair.picture"), class_="under", width=width, height=height)
    ]
    if look.evidence:
        over = uri(heatmap.layer(look.heat, look.box), form="WEBP", quality=85)
        layers.append(tag("img", src=over, alt=said, class_="over", width=width, height=height))
        note = Markup("")
    else:
        note = tag("p", messages.text(f"inspect.pair.{'none' if look.mapped else 'no_map'}"), class_="sub")
    return tag("figure", tag("figcaption", said, tag("small", sure)), tag("div", *layers, class_="stack"), note)


def downloads() -> Markup:
    """What can be taken along, a button each."""
    buttons = (
        tag("button", messages.text(f"inspect.{key}"), type="button", data_file=key, title=Path(name).name)
        for key, name in FILES.items()
    )
    return card("download", tag("p", *buttons, class_="downloads"))
