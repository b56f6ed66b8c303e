"""An evaluation as one standalone HTML file: images and styles are inside, nothing is loaded from elsewhere."""

from __future__ import annotations

import time

from ftlab import __version__
from ftlab.core import messages
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.isolation.thumbnails import make_thumbnails
from ftlab.evaluation import selection
from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting.html import DOCUMENT_CSS_PATH, PARTS_CSS_PATH, confusion_matrix, parts, reliability_diagram
from ftlab.reporting.html.parts import ClassFormatter

IMAGES_PER_KIND = 24
"""Images shown of each kind (mistakes, hits, random)."""


def format_dataset_name(dataset_name: str) -> str:
    """Return the name for people of a data set: a split, or a folder."""
    # A folder is called `folder-<digest>`; the text names its kind only.
    return messages.get_text(f"inspect.of.{dataset_name.partition('-')[0]}")


def render_document(evaluation: Evaluation, model_title: str, run_name: str, format_class: ClassFormatter = str) -> str:
    """Render the report of an evaluation.

    Paths of images are relative to the folder of the data set, so the file names no folder of this machine.

    Args:
        evaluation: the evaluation.
        model_title: title of the model.
        run_name: name of the run.
        format_class: maps a class name to its name for people.

    Returns:
        The HTML document.
    """
    result = evaluation.result
    title = messages.get_text("report.title", model=model_title)
    subtitle = messages.get_text(
        "report.of",
        split=format_dataset_name(result.dataset_name),
        which=messages.get_text(f"inspect.weights.{result.weights_choice}"),
        n=f"{len(result.labels):,}",
        classes=f"{len(result.class_names):,}",
        date=time.strftime("%Y-%m-%d"),
    )
    matrix_content = join_html(
        [
            tag("p", messages.get_text("report.matrix"), class_="sub"),
            confusion_matrix.render_confusion_matrix(evaluation, format_class),
        ]
    )
    sections = [
        _render_section("inspect.confusions", matrix_content),
        _render_section(
            "inspect.classes",
            join_html(
                [tag("p", messages.get_text("report.class"), class_="sub"), _render_classes(evaluation, format_class)]
            ),
        ),
        _render_section("inspect.calibration", reliability_diagram.render_calibration(evaluation)),
        *(
            _render_section(f"inspect.kind.{kind}", _render_images(evaluation, kind, format_class))
            for kind in selection.SELECTION_KINDS
        ),
        _render_section("report.how", tag("p", messages.get_text("report.interval"), class_="sub")),
    ]
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        Markup(
            # The document's own style sheet comes second: it defines the colours that the pieces use.
            f"<style>{PARTS_CSS_PATH.read_text(encoding='utf-8')}{DOCUMENT_CSS_PATH.read_text(encoding='utf-8')}</style>"
        ),
    )
    heading = [tag("h1", title), tag("p", subtitle, " · ", messages.get_text("report.run", run=run_name), class_="sub")]
    footer = tag("footer", messages.get_text("report.by", version=__version__))
    body = tag("body", *heading, parts.render_scores(evaluation), *sections, footer)
    return f"<!doctype html>\n{tag('html', head, body, lang=messages.current_language())}\n"


def _render_section(key: str, content: Markup) -> Markup:
    return tag("section", tag("h2", messages.get_text(key)), content)


def _render_classes(evaluation: Evaluation, format_class: ClassFormatter) -> Markup:
    return tag("div", parts.render_class_table(evaluation, format_class), class_="ft-scroll")


def _render_images(evaluation: Evaluation, kind: str, format_class: ClassFormatter) -> Markup:
    """Return the grid of the first `IMAGES_PER_KIND` images of a kind, with the number of all."""
    selected = selection.select_images(kind, evaluation.result, evaluation.confidences)
    if not selected:
        return tag("p", messages.get_text("inspect.none_here"), class_="sub")
    shown_indices = selected[:IMAGES_PER_KIND]
    caption = messages.get_text("inspect.shown", shown=len(shown_indices), total=f"{len(selected):,}")
    image_uris = make_thumbnails(
        [evaluation.result.get_image_path(index) for index in shown_indices], evaluation.value_ranges
    )
    return join_html(
        [tag("p", caption, class_="sub"), parts.render_image_grid(evaluation, shown_indices, image_uris, format_class)]
    )
