"""HTML of several images with their predictions, and the table of these. All text in it is escaped."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import csv_cells, messages
from ftlab.core.html import Markup, tag
from ftlab.core.messages import format_percent
from ftlab.data.images.decode_options import ValueRanges
from ftlab.data.isolation.thumbnails import make_thumbnails
from ftlab.ui.predict.view import ClassFormatter, render_download_link

if TYPE_CHECKING:  # torch is imported by the first question, not by the page
    from ftlab.inference.predictor import ClassScore


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction of one of several images.

    Attributes:
        image_path: path of the image.
        top_scores: the most probable classes; empty if the image is unreadable.
        problem: why it is unreadable; empty if it is not.
        unsure_mark: says that the top probability is below the model's threshold; empty if it is not.
    """

    image_path: Path
    top_scores: tuple[ClassScore, ...]
    problem: str = ""
    unsure_mark: str = ""


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
    download_link = render_download_link(
        messages.get_text("predict.download_csv"), encode_predictions_csv(predictions), "predictions.csv"
    )
    problem_count = sum(bool(prediction.problem) for prediction in predictions)
    if len(predictions) == 1:
        message_key = "predict.several_bad_one" if problem_count else "predict.several_done_one"
    else:
        message_key = "predict.several_bad" if problem_count else "predict.several_done"
    summary = messages.get_text(message_key, count=len(predictions), bad=problem_count)
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
    name, percent = format_class_name(top_score.name), format_percent(top_score.probability)
    if prediction.unsure_mark:
        answer = [
            tag("b", name, class_="accepted"),
            tag("small", percent, class_="accepted"),
            tag("small", prediction.unsure_mark, class_="ftlab-unsure accepted"),
            # In their place while the switch "None of these" is on.
            tag("b", messages.get_text("predict.none"), class_="rejected"),
            tag("small", f"{name} {percent}", class_="rejected"),
        ]
    else:
        answer = [tag("b", name), tag("small", percent)]
    return tag(
        "button",
        tag("img", src=image_uri, alt="") if image_uri else "",
        *answer,
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
