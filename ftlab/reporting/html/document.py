"""An evaluation as one HTML file that stands alone: pictures and styles are inside, nothing is asked from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from ftlab import __version__
from ftlab.core import messages
from ftlab.core.html import Markup, join, tag
from ftlab.data.images.thumbnails import thumbnails
from ftlab.evaluation import selection
from ftlab.evaluation.evaluate import Inspection
from ftlab.reporting.html import PARTS_CSS, parts
from ftlab.reporting.html.parts import Say

EACH = 24
"""Pictures of each kind."""
_CSS = Path(__file__).parent / "document.css"


def name(pictures: str) -> str:
    """What a person reads for the pictures of an outcome."""
    return messages.text(f"inspect.of.{pictures.partition('-')[0]}")


def document(found: Inspection, model: str, run: str, say: Say = str) -> str:
    """The whole file. Of paths only those below the folder of pictures are told.

    Args:
        found: what is reported.
        model: its title.
        run: the run's name.
        say: the classes' names for people.
    """
    outcome = found.outcome
    title = messages.text("report.title", model=model)
    told = messages.text(
        "report.of",
        split=name(outcome.pictures),
        which=messages.text(f"inspect.weights.{outcome.which}"),
        n=f"{len(outcome.labels):,}",
        classes=f"{len(outcome.classes):,}",
        date=time.strftime("%Y-%m-%d"),
    )
    matrix = join([tag("p", messages.text("report.matrix"), class_="sub"), parts.matrix(found, say)])
    sections = [
        _section("inspect.confusions", matrix),
        _section(
            "inspect.classes", join([tag("p", messages.text("report.class"), class_="sub"), _classes(found, say)])
        ),
        _section("inspect.calibration", parts.calibrated(found)),
        *(_section(f"inspect.kind.{kind}", _pictures(found, kind, say)) for kind in selection.KINDS),
        _section("report.how", tag("p", messages.text("report.interval"), class_="sub")),
    ]
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        Markup(f"<style>{PARTS_CSS.read_text(encoding='utf-8')}{_CSS.read_text(encoding='utf-8')}</style>"),
    )
    top = [tag("h1", title), tag("p", told, " · ", messages.text("report.run", run=run), class_="sub")]
    foot = tag("footer", messages.text("report.by", version=__version__))
    body = tag("body", *top, parts.scores(found), *sections, foot)
    return f"<!doctype html>\n{tag('html', head, body, lang=messages.language())}\n"


def _section(key: str, content: Markup) -> Markup:
    return tag("section", tag("h2", messages.text(key)), content)


def _classes(found: Inspection, say: Say) -> Markup:
    return tag("div", parts.classes(found, say), class_="ft-scroll")


def _pictures(found: Inspection, kind: str, say: Say) -> Markup:
    chosen = selection.of(kind, found.outcome, found.sure)
    if not chosen:
        return tag("p", messages.text("inspect.none_here"), class_="sub")
    some = chosen[:EACH]
    shown = messages.text("inspect.shown", shown=len(some), total=f"{len(chosen):,}")
    sources = thumbnails([found.outcome.path(index) for index in some])
    return join([tag("p", shown, class_="sub"), parts.grid(found, some, sources, say)])
