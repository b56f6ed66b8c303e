"""HTML of the Inspect tab: an evaluation, its images and their explanations. All text in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.core.messages import format_percent
from ftlab.data.images import tar_members
from ftlab.data.images.data_uri import encode_data_uri
from ftlab.data.isolation.thumbnails import make_thumbnails
from ftlab.data.shards.shard_files import find_url
from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting.html import confusion_matrix, parts, reliability_diagram
from ftlab.reporting.html.parts import ClassFormatter
from ftlab.ui.predict.view import render_heat_layer

if TYPE_CHECKING:
    from ftlab.inference.predictor import ClassExplanation

IMAGES_PER_PAGE = 24
"""Images on a page of the gallery."""
DOWNLOAD_FILES = {
    "report": "report.html",
    "table": "pictures.csv",
    "table_classes": "classes.csv",
    "table_matrix": "confusion.csv",
    "figure_matrix": "confusion.png",
    "figure_classes": "classes.png",
    "figure_reliability": "reliability.png",
}
"""Files that can be downloaded: message key below `inspect`, and name."""


def render_card(title_key: str, content: Markup, description_key: str = "") -> Markup:
    """Render a section with a title.

    Args:
        title_key: message key of the title, below `inspect`.
        content: of the section.
        description_key: message key of a description, below `inspect`; empty for none.

    Returns:
        The section, as HTML.
    """
    description = tag("p", messages.get_text(f"inspect.{description_key}"), class_="sub") if description_key else ""
    heading = tag("h2", messages.get_text(f"inspect.{title_key}"))
    return tag("section", heading, description, content, class_="ftlab-card ftlab-inspected")


def render_scores(evaluation: Evaluation) -> Markup:
    """Return the metrics as HTML, and a notice if the images are no longer there."""
    result = evaluation.result
    # Three samples: checking all of a large split would take seconds on a network drive.
    images_missing = not any(
        tar_members.has_image(result.get_image_path(index)) for index in (0, len(result.paths) // 2, -1)
    )
    code = "gone_all" if find_url(result.root) is None else "on_server"
    note = (
        messages.get_text(f"inspect.{code}", folder=messages.escape_control_chars(result.root.name))
        if images_missing
        else ""
    )
    return join_html([parts.render_scores(evaluation), tag("p", note, class_="ftlab-notice") if images_missing else ""])


def render_matrix(evaluation: Evaluation, format_class_name: ClassFormatter) -> Markup:
    """Return the confusion matrix as HTML; its cells are buttons."""
    return render_card(
        "confusions",
        confusion_matrix.render_confusion_matrix(evaluation, format_class_name, pressable=True),
        "matrix.how",
    )


def render_classes(evaluation: Evaluation, format_class_name: ClassFormatter) -> Markup:
    """Return the table of per-class metrics as HTML."""
    table = parts.render_class_table(evaluation, format_class_name, sortable=True)
    scroll_area = tag(
        "div",
        table,
        class_="ftlab-scroll",
        tabindex="0",
        role="region",
        aria_label=messages.get_text("inspect.classes"),
    )
    return render_card("classes", scroll_area)


def render_calibration(evaluation: Evaluation) -> Markup:
    """Return the reliability diagram and the calibration as HTML."""
    return render_card("calibration", reliability_diagram.render_calibration(evaluation))


def render_gallery(
    evaluation: Evaluation, image_indices: Sequence[int], page: int, format_class_name: ClassFormatter, title: str
) -> Markup:
    """Render a page of the selected images; each is a button.

    Args:
        evaluation: the evaluation.
        image_indices: indices of all selected images.
        page: number of the page from 0; after the last page it starts again.
        format_class_name: returns the name for people of a class.
        title: of the selection.

    Returns:
        A section, as HTML.
    """
    if not image_indices:
        note = tag("p", messages.get_text("inspect.none_here"), class_="sub")
        return tag("section", tag("h2", title), note, class_="ftlab-card ftlab-inspected")
    # The page number only ever grows: after the last page comes the first.
    start = page % count_pages(len(image_indices)) * IMAGES_PER_PAGE
    page_indices = image_indices[start : start + IMAGES_PER_PAGE]
    summary = messages.get_text(
        "inspect.shown",
        shown=_format_span(start, len(page_indices), len(image_indices)),
        total=f"{len(image_indices):,}",
    )
    thumbnail_uris = make_thumbnails(
        [evaluation.result.get_image_path(index) for index in page_indices], evaluation.value_ranges
    )
    return tag(
        "section",
        tag("h2", title),
        tag("p", summary, " · ", messages.get_text("inspect.press"), class_="sub"),
        parts.render_image_grid(evaluation, page_indices, thumbnail_uris, format_class_name, pressable=True),
        class_="ftlab-card ftlab-inspected",
    )


def count_pages(image_count: int) -> int:
    """Return the number of pages that so many images fill."""
    return max(1, -(-image_count // IMAGES_PER_PAGE))  # rounded up


def _format_span(start: int, shown_count: int, total_count: int) -> str:
    """Return the positions of the shown images, from 1, or their number if all are shown."""
    return str(shown_count) if shown_count == total_count else f"{start + 1}–{start + shown_count}"


def format_cell_title(
    evaluation: Evaluation, true_index: int, predicted_index: int, format_class_name: ClassFormatter
) -> str:
    """Return the title of a confusion matrix cell's images: their true and predicted class."""
    class_names = evaluation.result.class_names
    message_key = "inspect.cell_right" if true_index == predicted_index else "inspect.cell_wrong"
    return messages.get_text(
        message_key,
        true=messages.escape_control_chars(format_class_name(class_names[true_index])),
        predicted=messages.escape_control_chars(format_class_name(class_names[predicted_index])),
    )


def render_pair(
    evaluation: Evaluation,
    image_index: int,
    explanations: Sequence[ClassExplanation],
    format_class_name: ClassFormatter,
) -> Markup:
    """Render the explanations of an image for its true and its predicted class.

    Args:
        evaluation: the evaluation.
        image_index: index of the image.
        explanations: of the two classes, with the same image; for a correct prediction, of the true class and of the
            one that comes next.
        format_class_name: returns the name for people of a class.

    Returns:
        A section, as HTML.
    """
    true_index, predicted_index = (
        int(evaluation.result.labels[image_index]),
        int(evaluation.result.predicted_labels[image_index]),
    )
    keys = ("both", "next") if true_index == predicted_index else ("true", "predicted")
    image_uri = encode_data_uri(explanations[0].image, quality=90)
    figures = (
        _render_explanation(evaluation, image_index, explanation, key, format_class_name, image_uri)
        for explanation, key in zip(explanations, keys, strict=False)
    )
    path_tag = tag("code", isolate_text(evaluation.result.paths[image_index], is_path=True))
    return tag(
        "section",
        tag("h2", messages.get_text("inspect.pair.title")),
        tag("p", path_tag, class_="sub"),
        tag("div", *figures, class_="ftlab-looked"),
        class_="ftlab-card ftlab-inspected ftlab-overlay",
    )


def _render_explanation(
    evaluation: Evaluation,
    image_index: int,
    explanation: ClassExplanation,
    key: str,
    format_class_name: ClassFormatter,
    image_uri: Markup,
) -> Markup:
    """Render an image under its heatmap, with class and probability.

    Args:
        evaluation: the evaluation.
        image_index: index of the image.
        explanation: of one class.
        key: message key below `inspect.pair`.
        format_class_name: returns the name for people of a class.
        image_uri: the image as a `data:` URI.

    Returns:
        A figure, as HTML.
    """
    height, width = explanation.image.shape[:2]
    class_name = messages.escape_control_chars(
        format_class_name(evaluation.result.class_names[explanation.class_index])
    )
    caption = messages.get_text(f"inspect.pair.{key}", name=class_name)
    confidence = messages.get_text(
        "inspect.pair.sure", sure=format_percent(float(evaluation.probabilities[image_index, explanation.class_index]))
    )
    layers = [
        tag(
            "img",
            src=image_uri,
            alt=messages.get_text("inspect.pair.picture"),
            class_="under",
            width=width,
            height=height,
        )
    ]
    if explanation.has_evidence:
        layers.append(render_heat_layer(explanation, caption))
        note = Markup("")
    else:
        note = tag("p", messages.get_text(f"inspect.pair.{'none' if explanation.has_map else 'no_map'}"), class_="sub")
    return tag(
        "figure", tag("figcaption", caption, tag("small", confidence)), tag("div", *layers, class_="stack"), note
    )


def render_downloads() -> Markup:
    """Return the downloads as HTML: a button each."""
    buttons = (
        tag("button", messages.get_text(f"inspect.{key}"), type="button", data_file=key, title=Path(file_name).name)
        for key, file_name in DOWNLOAD_FILES.items()
    )
    return render_card("download", tag("p", *buttons, class_="downloads"))
