"""Answers as the Predict tab shows them: bars, heat over the picture, galleries. HTML in which all text is escaped."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import messages
from ftlab.core.errors import PictureError
from ftlab.core.html import Markup, join, tag
from ftlab.core.messages import percent
from ftlab.data.images.thumbnails import thumbnails, uri

if TYPE_CHECKING:  # torch is imported by the first question, not by the page
    from ftlab.inference.decision_rule import Decision
    from ftlab.inference.predictor import Explanation, Score

TOP = 5
"""Classes shown, or all where there are fewer."""


@dataclass(frozen=True)
class Answer:
    """One of several pictures: its top classes, or what is wrong with it."""

    file: Path
    top: tuple[Score, ...]
    problem: str = ""
    none: bool = False
    """Whether the model is too unsure to be believed."""


Say = Callable[[str], str]
"""What a person reads for the name of a class."""


def scores(ranked: Sequence[Score], chosen: int, title: str, say: Say = str, decided: Decision | None = None) -> Markup:
    """The top classes as bars to choose from; the chosen class too where it is not among them.

    Args:
        ranked: all classes, the most probable first.
        chosen: index of the class whose heat is shown.
        title: the model's name.
        say: the classes' names for people.
        decided: how the probabilities are to be read, where the model was evaluated.
    """
    rows = [*ranked[:TOP], *(score for score in ranked[TOP:] if score.index == chosen)]
    count = len(ranked)
    key = "predict.top" if count > TOP else "predict.all"
    none = decided is not None and decided.refuses(ranked[0].probability)
    return tag(
        "section",
        tag("h3", messages.text("predict.none")) if none else tag("h3", say(ranked[0].name)),
        tag("p", _unsure(ranked[0], decided, say), class_="sub none") if none and decided else "",
        tag("p", messages.text(key, top=TOP, count=f"{count:,}", model=title), class_="sub"),
        tag("ol", *(tag("li", _row(score, chosen, say)) for score in rows)),
        tag("p", messages.text("predict.choose_class"), class_="sub"),
        class_="ftlab-card ftlab-scores",
    )


def _unsure(first: Score, decided: Decision, say: Say) -> str:
    sure, least = percent(first.probability), percent(decided.threshold)
    return messages.text("predict.none_why", name=messages.one_line(say(first.name)), sure=sure, threshold=least)


def _row(score: Score, chosen: int, say: Say) -> Markup:
    return tag(
        "button",
        tag("span", say(score.name), class_="name"),
        tag("span", percent(score.probability), class_="share"),
        tag("span", tag("i", style=f"width:{100 * score.probability:.2f}%"), class_="track", aria_hidden="true"),
        type="button",
        data_index=score.index,
        aria_pressed="true" if score.index == chosen else "false",
    )


@dataclass(frozen=True)
class Earlier:
    """What the network looked at before it was fine-tuned, None where that cannot be shown; and what is said of it."""

    found: Explanation | None
    said: str


def overlay(found: Explanation, name: str, stem: str, earlier: Earlier | None = None) -> Markup:
    """The picture under its heat, and what can be downloaded. The browser blends the two.

    Args:
        found: picture and heat.
        name: of the class.
        stem: beginning of the downloads' file names.
        earlier: the same before fine-tuning, shown beside it.
    """
    from ftlab.inference import heatmap

    picture = uri(found.picture, quality=90)
    links = [_download(messages.text("predict.download_picture"), picture, f"{stem}-picture.jpg")]
    if found.evidence:
        heat = uri(heatmap.colour(found.heat), quality=92)
        links += [
            _download(messages.text("predict.download_heat"), heat, f"{stem}-heat.jpg"),
            _download(messages.text("predict.download_overlay"), "#", f"{stem}-overlay.png", data_blend=True),
        ]
        caption = join([messages.text("predict.evidence"), " ", tag("b", name)])
        legend = tag("p", messages.text("predict.little"), tag("i"), messages.text("predict.much"), class_="legend")
        height, width = found.picture.shape[:2]
        x0, y0, x1, y1 = found.box
        whole = (x1 - x0) * (y1 - y0) >= 0.995 * width * height
        note = Markup("") if whole else tag("p", messages.text("predict.unseen"), class_="sub")
    else:
        missing = "no_evidence" if found.mapped else "no_map"
        caption = join([messages.text(f"predict.{missing}"), " ", tag("b", name)])
        legend, note = Markup(""), tag("p", messages.text(f"predict.{missing}_why"), class_="sub")
    stack = _stack(found, name, picture)
    if earlier and earlier.found:
        pair = (("earlier", _stack(earlier.found, name, picture), earlier.found), ("now", stack, found))
        stack = tag("div", *(_side(*one) for one in pair), class_="pair")
    said = tag("p", earlier.said, class_="sub before") if earlier else ""
    return tag(
        "section",
        tag("div", tag("p", caption, class_="caption"), legend, class_="line"),
        stack,
        said,
        note,
        tag("p", *links, class_="downloads"),
        class_="ftlab-card ftlab-overlay",
    )


def _stack(found: Explanation, name: str, picture: str) -> Markup:
    """The picture, as an address, and its heat above."""
    from ftlab.inference import heatmap

    height, width = found.picture.shape[:2]
    parts = [tag("img", src=picture, alt=messages.text("predict.picture"), class_="under", width=width, height=height)]
    if found.evidence:
        layer = uri(heatmap.layer(found.heat, found.box), form="WEBP", quality=85)
        said = messages.text("predict.heat_alt", name=name)
        parts.append(tag("img", src=layer, alt=said, class_="over", width=width, height=height))
    return tag("div", *parts, class_="stack")


def _side(which: str, stack: Markup, found: Explanation) -> Markup:
    title = messages.text(f"explain.{which}") + ("" if found.evidence else f": {messages.text('explain.no_evidence')}")
    return tag("figure", tag("figcaption", title), stack, class_=which)


def examples(files: Sequence[tuple[Path, str]]) -> Markup:
    """Pictures to try, each with its true class where it is known."""
    made = thumbnails([file for file, _ in files])
    buttons = [
        tag(
            "button",
            tag("img", src=source, alt=messages.text("predict.example", number=number + 1)),
            tag("span", name) if name else "",
            type="button",
            data_index=number,
            title=name or None,
        )
        for number, ((_, name), source) in enumerate(zip(files, made, strict=True))
        if source
    ]
    if not buttons:
        return Markup("")
    return tag(
        "div",
        tag("p", messages.text("predict.examples")),
        tag("div", *buttons, class_="strip"),
        class_="ftlab-examples",
    )


def gallery(answers: Sequence[Answer], say: Say = str) -> Markup:
    """Several pictures with their answers, and the same as a table to download: that has the classes' own names."""
    made = thumbnails([answer.file for answer in answers])
    figures = [
        _figure(number, answer, source, say) for number, (answer, source) in enumerate(zip(answers, made, strict=True))
    ]
    link = _download(messages.text("predict.download_csv"), table(answers), "predictions.csv")
    bad = sum(bool(answer.problem) for answer in answers)
    said = messages.text("predict.several_bad" if bad else "predict.several_done", count=len(answers), bad=bad)
    head = tag("div", tag("p", said, class_="caption"), tag("p", link, class_="downloads"), class_="line")
    return tag("section", head, tag("div", *figures, class_="grid"), class_="ftlab-card ftlab-answers")


def _figure(number: int, answer: Answer, source: str | None, say: Say) -> Markup:
    name = answer.file.name
    if answer.problem:
        return tag("div", tag("span", "!", class_="gone"), tag("b", name), tag("small", answer.problem), class_="bad")
    best = answer.top[0]
    return tag(
        "button",
        tag("img", src=source, alt="") if source else "",
        tag("b", messages.text("predict.none") if answer.none else say(best.name)),
        tag("small", f"{say(best.name)} " if answer.none else "", percent(best.probability)),
        type="button",
        data_index=number,
        title=name,
    )


def table(answers: Sequence[Answer]) -> str:
    """The answers as CSV, as a `data:` address: file, then class and probability of each of the top classes."""
    width = max((len(answer.top) for answer in answers), default=0)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    places = range(1, width + 1)
    writer.writerow(["file", *(f"{what}_{place}" for place in places for what in ("class", "probability")), "problem"])
    for answer in answers:
        cells = [cell for score in answer.top for cell in (score.name, f"{score.probability:.6f}")]
        writer.writerow([answer.file.name, *cells, *[""] * (2 * width - len(cells)), answer.problem])
    # the mark at the beginning tells spreadsheets that it is UTF-8
    return (
        f"data:text/csv;charset=utf-8;base64,{base64.b64encode(stream.getvalue().encode('utf-8-sig')).decode('ascii')}"
    )


def wrong(error: PictureError) -> str:
    """What is wrong with a picture, and its remedy. Its place among the uploads is nobody's business."""
    return f"{error.problem} {error.remedy}"


def _download(label: str, address: str, name: str, **attributes: object) -> Markup:
    return tag("a", label, href=address, download=name, **attributes)
