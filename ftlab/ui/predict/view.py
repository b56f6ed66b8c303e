"""HTML of the Predict tab: scores as bars, heat over the image, galleries. All text in it is escaped."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import csv_cells, messages
from ftlab.core.errors import ImageError
from ftlab.core.html import Markup, join_html, tag
from ftlab.core.messages import format_percent
from ftlab.data.images.data_uri import encode_data_uri
from ftlab.data.images.decode_options import ValueRanges
from ftlab.data.isolation.thumbnails import make_thumbnails

if TYPE_CHECKING:  # torch is imported by the first question, not by the page
    from ftlab.inference.decision_rule import DecisionRule
    from ftlab.inference.predictor import ClassExplanation, ClassScore

TOP_K = 5
"""Number of classes shown, or all if there are fewer."""


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction of one of several images.

    Attributes:
        image_path: path of the image.
        top_scores: the most probable classes; empty if the image is unreadable.
        problem: why it is unreadable; empty if it is not.
        is_rejected: the top probability is below the model's threshold.
    """

    image_path: Path
    top_scores: tuple[ClassScore, ...]
    problem: str = ""
    is_rejected: bool = False


ClassFormatter = Callable[[str], str]
"""Returns the name for people of a class."""


def render_scores(
    ranked_scores: Sequence[ClassScore],
    chosen_index: int,
    title: str,
    format_class_name: ClassFormatter = str,
    decision: DecisionRule | None = None,
) -> Markup:
    """Render the top classes as bars that can be pressed, and the explained class if it is not among them.

    Args:
        ranked_scores: all classes, the most probable first.
        chosen_index: index of the explained class.
        title: title of the model.
        format_class_name: returns the name for people of a class.
        decision: threshold, if the model was evaluated.

    Returns:
        A section, as HTML.
    """
    rows = [*ranked_scores[:TOP_K], *(score for score in ranked_scores[TOP_K:] if score.class_index == chosen_index)]
    class_count = len(ranked_scores)
    message_key = "predict.top" if class_count > TOP_K else "predict.all"
    is_rejected = decision is not None and decision.rejects_probability(ranked_scores[0].probability)
    return tag(
        "section",
        tag("h3", messages.get_text("predict.none"))
        if is_rejected
        else tag("h3", format_class_name(ranked_scores[0].name)),
        tag("p", _format_rejection(ranked_scores[0], decision, format_class_name), class_="sub none")
        if is_rejected and decision
        else "",
        tag("p", messages.get_text(message_key, top=TOP_K, count=f"{class_count:,}", model=title), class_="sub"),
        tag("ol", *(tag("li", _render_score_button(score, chosen_index, format_class_name)) for score in rows)),
        tag("p", messages.get_text("predict.choose_class"), class_="sub"),
        class_="ftlab-card ftlab-scores",
    )


def _format_rejection(top_score: ClassScore, decision: DecisionRule, format_class_name: ClassFormatter) -> str:
    """Return the sentence that explains why no class is accepted."""
    probability, threshold = format_percent(top_score.probability), format_percent(decision.threshold)
    return messages.get_text(
        "predict.none_why",
        name=messages.escape_control_chars(format_class_name(top_score.name)),
        sure=probability,
        threshold=threshold,
    )


def _render_score_button(score: ClassScore, chosen_index: int, format_class_name: ClassFormatter) -> Markup:
    return tag(
        "button",
        tag("span", format_class_name(score.name), class_="name"),
        tag("span", format_percent(score.probability), class_="share"),
        # Hidden from screen readers, which have read the number before it.
        tag("span", tag("i", style=f"width:{100 * score.probability:.2f}%"), class_="track", aria_hidden="true"),
        type="button",
        data_index=score.class_index,
        aria_pressed="true" if score.class_index == chosen_index else "false",
    )


@dataclass(frozen=True)
class BaselineView:
    """The map before fine-tuning, if there is one, and a sentence about it."""

    explanation: ClassExplanation | None
    note: str


def render_overlay(
    explanation: ClassExplanation, class_name: str, file_stem: str, baseline: BaselineView | None = None
) -> Markup:
    """Render the image under its heatmap, with download links; the browser blends the two layers.

    Args:
        explanation: image and heatmap.
        class_name: name for people of the explained class.
        file_stem: beginning of the names of the downloads.
        baseline: the map before fine-tuning, shown next to it.

    Returns:
        A section, as HTML.
    """
    image_uri = encode_data_uri(explanation.image, quality=90)
    if explanation.has_evidence:
        caption = join_html([messages.get_text("predict.evidence"), " ", tag("b", class_name)])
        legend = tag(
            "p", messages.get_text("predict.little"), tag("i"), messages.get_text("predict.much"), class_="legend"
        )
        height, width = explanation.image.shape[:2]
        x0, y0, x1, y1 = explanation.visible_box
        # Rounding may take a pixel off at each side: that needs no note that the network saw only a part.
        covers_image = (x1 - x0) * (y1 - y0) >= 0.995 * width * height
        note = Markup("") if covers_image else tag("p", messages.get_text("predict.unseen"), class_="sub")
    else:
        missing_key = "no_evidence" if explanation.has_map else "no_map"
        caption = join_html([messages.get_text(f"predict.{missing_key}"), " ", tag("b", class_name)])
        legend, note = Markup(""), tag("p", messages.get_text(f"predict.{missing_key}_why"), class_="sub")
    stack = _render_image_stack(explanation, class_name, image_uri)
    if baseline and baseline.explanation:
        sides = (
            ("earlier", _render_image_stack(baseline.explanation, class_name, image_uri), baseline.explanation),
            ("now", stack, explanation),
        )
        stack = tag("div", *(_render_side(*side) for side in sides), class_="pair")
    baseline_note = tag("p", baseline.note, class_="sub before") if baseline else ""
    return tag(
        "section",
        tag("div", tag("p", caption, class_="caption"), legend, class_="line"),
        stack,
        baseline_note,
        note,
        tag("p", *_render_downloads(explanation, file_stem), class_="downloads"),
        class_="ftlab-card ftlab-overlay",
    )


def _render_downloads(explanation: ClassExplanation, file_stem: str) -> list[Markup]:
    """Return links to the image and, if there is evidence, to its heat map and to both.

    `static/overlay.js` gives links without an address theirs when they are pressed: so the image is not sent twice, and
    the overlay is as opaque as the slider shows it.
    """
    from ftlab.inference import heatmap

    links = [
        _render_download_link(
            messages.get_text("predict.download_picture"), "#", f"{file_stem}-picture.jpg", data_picture=True
        )
    ]
    if explanation.has_evidence:
        heat_uri = encode_data_uri(heatmap.apply_colormap(explanation.heatmap), quality=92)
        links += [
            _render_download_link(messages.get_text("predict.download_heat"), heat_uri, f"{file_stem}-heat.jpg"),
            _render_download_link(
                messages.get_text("predict.download_overlay"), "#", f"{file_stem}-overlay.png", data_blend=True
            ),
        ]
    return links


def _render_image_stack(explanation: ClassExplanation, class_name: str, image_uri: str) -> Markup:
    """Return the image, given as a data URI, with the heatmap as a layer above it."""
    height, width = explanation.image.shape[:2]
    parts = [
        tag("img", src=image_uri, alt=messages.get_text("predict.picture"), class_="under", width=width, height=height)
    ]
    if explanation.has_evidence:
        heat_uri = encode_heat_layer(explanation)
        alt_text = messages.get_text("predict.heat_alt", name=class_name)
        parts.append(tag("img", src=heat_uri, alt=alt_text, class_="over", width=width, height=height))
    return tag("div", *parts, class_="stack")


def encode_heat_layer(explanation: ClassExplanation) -> str:
    """Return the heat map as a small transparent layer, a data URI; the browser enlarges it to the image's size."""
    from ftlab.inference import heatmap

    small_layer = heatmap.render_small_layer(explanation.heatmap, explanation.visible_box)
    # WEBP: the layer is transparent where there is no evidence, which JPEG cannot be.
    return encode_data_uri(small_layer, image_format="WEBP", quality=85, webp_method=0)


def _render_side(side_key: str, stack: Markup, explanation: ClassExplanation) -> Markup:
    """Return the map before or after fine-tuning as a figure with a caption."""
    title = messages.get_text(f"explain.{side_key}") + (
        "" if explanation.has_evidence else f": {messages.get_text('explain.no_evidence')}"
    )
    return tag("figure", tag("figcaption", title), stack, class_=side_key)


def render_gallery(
    predictions: Sequence[ImagePrediction],
    format_class_name: ClassFormatter = str,
    value_ranges: ValueRanges | None = ValueRanges(),
) -> Markup:
    """Render several images with their predictions, and a link to download these as CSV.

    Args:
        predictions: of the images.
        format_class_name: returns the name for people of a class; the CSV has the class names themselves.
        value_ranges: that the model sees deep images at.

    Returns:
        A section, as HTML.
    """
    thumbnail_uris = make_thumbnails([prediction.image_path for prediction in predictions], value_ranges)
    figures = [
        _render_gallery_item(index, prediction, image_uri, format_class_name)
        for index, (prediction, image_uri) in enumerate(zip(predictions, thumbnail_uris, strict=True))
    ]
    download_link = _render_download_link(
        messages.get_text("predict.download_csv"), encode_predictions_csv(predictions), "predictions.csv"
    )
    problem_count = sum(bool(prediction.problem) for prediction in predictions)
    summary = messages.get_text(
        "predict.several_bad" if problem_count else "predict.several_done", count=len(predictions), bad=problem_count
    )
    header = tag("div", tag("p", summary, class_="caption"), tag("p", download_link, class_="downloads"), class_="line")
    return tag("section", header, tag("div", *figures, class_="grid"), class_="ftlab-card ftlab-answers")


def _render_gallery_item(
    index: int, prediction: ImagePrediction, image_uri: str | None, format_class_name: ClassFormatter
) -> Markup:
    file_name = prediction.image_path.name
    if prediction.problem:
        return tag(
            "div", tag("span", "!", class_="gone"), tag("b", file_name), tag("small", prediction.problem), class_="bad"
        )
    top_score = prediction.top_scores[0]
    return tag(
        "button",
        tag("img", src=image_uri, alt="") if image_uri else "",
        tag("b", messages.get_text("predict.none") if prediction.is_rejected else format_class_name(top_score.name)),
        tag(
            "small",
            f"{format_class_name(top_score.name)} " if prediction.is_rejected else "",
            format_percent(top_score.probability),
        ),
        type="button",
        data_index=index,
        title=file_name,
    )


def encode_predictions_csv(predictions: Sequence[ImagePrediction]) -> str:
    """Encode predictions as a CSV file: file name, then name and probability of each of the top classes, and the error.

    Args:
        predictions: of the images.

    Returns:
        A `data:` URI.
    """
    max_class_count = max((len(prediction.top_scores) for prediction in predictions), default=0)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    positions = range(1, max_class_count + 1)
    writer.writerow(
        ["file", *(f"{column}_{position}" for position in positions for column in ("class", "probability")), "problem"]
    )
    for prediction in predictions:
        # Class names as the dataset has them: a table is for programs.
        cells = [cell for score in prediction.top_scores for cell in (score.name, f"{score.probability:.6f}")]
        row = [prediction.image_path.name, *cells, *[""] * (2 * max_class_count - len(cells)), prediction.problem]
        writer.writerow(map(csv_cells.escape_formula, row))
    # utf-8-sig: spreadsheet programs recognize UTF-8 by the byte order mark.
    return (
        f"data:text/csv;charset=utf-8;base64,{base64.b64encode(stream.getvalue().encode('utf-8-sig')).decode('ascii')}"
    )


def format_image_error(error: ImageError) -> str:
    """Return what is wrong with an image and its remedy, without the path of the upload."""
    return f"{error.problem} {error.remedy}"


def _render_download_link(label: str, url: str, file_name: str, **attributes: object) -> Markup:
    return tag("a", label, href=url, download=file_name, **attributes)
