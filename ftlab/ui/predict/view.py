"""HTML of the Predict tab: scores as bars, heat over the image, galleries. All text in it is escaped."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftlab.core import messages
from ftlab.core.errors import ImageError
from ftlab.core.html import Markup, join_html, tag
from ftlab.core.messages import format_percent
from ftlab.data.images.data_uri import encode_data_uri

if TYPE_CHECKING:  # torch is imported by the first question, not by the page
    from ftlab.inference.decision_rule import DecisionRule
    from ftlab.inference.predictor import ClassExplanation, ClassScore

TOP_K = 5
"""Number of classes shown, or all if there are fewer."""
_MAX_MAP_VALUE = 65535
"""Value that a map of the page has for 1: sixteen bits, finer than any screen shows."""


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
    return tag(
        "section",
        *_render_headline(ranked_scores[0], format_class_name, decision),
        tag("p", messages.get_text(message_key, top=TOP_K, count=f"{class_count:,}", model=title), class_="sub"),
        tag("ol", *(tag("li", _render_score_button(score, chosen_index, format_class_name)) for score in rows)),
        tag("p", messages.get_text("predict.choose_class"), class_="sub"),
        class_="ftlab-card ftlab-scores",
    )


def _render_headline(
    top_score: ClassScore, format_class_name: ClassFormatter, decision: DecisionRule | None
) -> list[Markup]:
    """Return the heading of the answer; below the threshold also the one that the switch "None of these" shows."""
    name = format_class_name(top_score.name)
    if decision is None or not decision.rejects_probability(top_score.probability):
        return [tag("h2", name)]
    reason = _format_rejection(top_score, decision, format_class_name)
    return [
        tag("h2", name, " ", tag("span", format_unsure(decision.threshold), class_="ftlab-unsure"), class_="accepted"),
        tag("h2", messages.get_text("predict.none"), class_="rejected"),
        tag("p", reason, class_="sub none rejected"),
    ]


def format_unsure(threshold: float) -> str:
    """Return the mark of an answer whose probability is below a model's threshold."""
    return messages.get_text("predict.unsure", threshold=format_percent(threshold))


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

    `static/heat.js` gives them their addresses when they are pressed: so the image is not sent twice, and the overlay
    is as opaque as the slider shows it.
    """
    links = [
        render_download_link(
            messages.get_text("predict.download_picture"), "#", f"{file_stem}-picture.jpg", data_picture=True
        )
    ]
    if explanation.has_evidence:
        links += [
            render_download_link(
                messages.get_text("predict.download_heat"), "#", f"{file_stem}-heat.jpg", data_heat=True
            ),
            render_download_link(
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
        parts.append(render_heat_layer(explanation, messages.get_text("predict.heat_alt", name=class_name)))
    return tag("div", *parts, class_="stack")


def render_heat_layer(explanation: ClassExplanation, alt_text: str) -> Markup:
    """Return a canvas of the image's size with the map beside it, from which `static/heat.js` draws the heat.

    Args:
        explanation: with evidence.
        alt_text: for screen readers.
    """
    height, width = explanation.image.shape[:2]
    rows, columns = explanation.scaled_map.shape
    values = (explanation.scaled_map * _MAX_MAP_VALUE).round().astype("<u2")
    return tag(
        "canvas",
        class_="over",
        width=width,
        height=height,
        role="img",
        aria_label=alt_text,
        data_grid=f"{rows} {columns}",
        data_box=" ".join(map(str, explanation.visible_box)),
        data_map=Markup(base64.b64encode(values.tobytes()).decode("ascii")),
    )


def _render_side(side_key: str, stack: Markup, explanation: ClassExplanation) -> Markup:
    """Return the map before or after fine-tuning as a figure with a caption."""
    title = messages.get_text(f"explain.{side_key}") + (
        "" if explanation.has_evidence else f": {messages.get_text('explain.no_evidence')}"
    )
    return tag("figure", tag("figcaption", title), stack, class_=side_key)


def format_image_error(error: ImageError) -> str:
    """Return what is wrong with an image and its remedy, without the path of the upload."""
    return f"{error.problem} {error.remedy}"


def render_download_link(label: str, url: str, file_name: str, **attributes: object) -> Markup:
    """Return a link that downloads a file.

    Args:
        label: text of the link.
        url: address of the content; `#` where a script puts it in.
        file_name: name that the file gets.
        **attributes: further attributes of the element.
    """
    return tag("a", label, href=url, download=file_name, **attributes)
