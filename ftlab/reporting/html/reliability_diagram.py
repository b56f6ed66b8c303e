"""Calibration of an evaluation as HTML: reliability diagrams as SVG, with an explanation. All text is escaped."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.core.messages import format_percent
from ftlab.evaluation import calibration
from ftlab.evaluation.calibration import ReliabilityDiagram
from ftlab.evaluation.evaluate import Evaluation

_DIAGRAM_SIDE_UNITS, _LEFT_MARGIN_UNITS, _BOTTOM_MARGIN_UNITS = 220, 34, 30
"""Side of the square plot, and margins for the tick labels, in units of the SVG's view box."""


def render_calibration(evaluation: Evaluation) -> Markup:
    """Return reliability diagrams before and after temperature scaling, with what the decision rule does."""
    result, decision = evaluation.result, evaluation.decision
    diagrams = [
        _render_reliability(calibration.compute_reliability(result), messages.get_text("inspect.reliability.before"))
    ]
    if evaluation.temperature != 1:
        title = messages.get_text("inspect.reliability.after", temperature=f"{evaluation.temperature:.2f}")
        diagrams.append(_render_reliability(calibration.compute_reliability(result, evaluation.temperature), title))
    paragraphs = [tag("p", messages.get_text("inspect.reliability.how"), class_="sub")]
    if evaluation.temperature != 1:
        key = "inspect.reliability.own" if evaluation.is_validation else "inspect.reliability.fitted"
        paragraphs.append(tag("p", messages.get_text(key, temperature=f"{evaluation.temperature:.2f}"), class_="sub"))
    elif decision:
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.none"), class_="sub"))
    if decision and decision.threshold:
        message_values = {"threshold": format_percent(decision.threshold), "right": f"{decision.right:,}"}
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.threshold", **message_values), class_="sub"))
    # Only the rule of the best weights is stored in the run, and so used by predictions.
    if decision and result.weights_choice == "best" and (decision.threshold or evaluation.temperature != 1):
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.used"), class_="sub"))
    return tag("div", tag("div", *diagrams, class_="ft-pair"), *paragraphs, class_="ft-calibration")


def _render_reliability(reliability: ReliabilityDiagram, title: str) -> Markup:
    """Render a reliability diagram: accuracy by confidence; on the diagonal the two are equal.

    Args:
        reliability: the diagram's data.
        title: caption.

    Returns:
        The figure, with the expected calibration error in its caption.
    """
    axis_label = tag(
        "text",
        messages.get_text("inspect.reliability.axis"),
        x=_LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS / 2,
        y=_DIAGRAM_SIDE_UNITS + 27,
        text_anchor="middle",
    )
    frame = tag(
        "rect", x=_LEFT_MARGIN_UNITS, y=0, width=_DIAGRAM_SIDE_UNITS, height=_DIAGRAM_SIDE_UNITS, class_="frame"
    )
    diagonal = tag(
        "line",
        x1=_LEFT_MARGIN_UNITS,
        y1=_DIAGRAM_SIDE_UNITS,
        x2=_LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS,
        y2=0,
        class_="even",
    )
    # 8 units above and 16 to the right: half of a tick label, which is centred on the end of its axis.
    width = _LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS + 16
    height = _DIAGRAM_SIDE_UNITS + _BOTTOM_MARGIN_UNITS + 10
    svg = tag(
        "svg",
        frame,
        *_render_bins(reliability),
        diagonal,
        *_render_ticks(),
        axis_label,
        viewBox=f"0 -8 {width} {height}",
        role="img",
        aria_label=f"{title}. {messages.get_text('inspect.reliability.axis')}",
    )
    return tag(
        "figure",
        tag("figcaption", title, tag("b", format_percent(reliability.calibration_error))),
        svg,
        class_="ft-reliability",
    )


def _render_bins(reliability: ReliabilityDiagram) -> list[Markup]:
    """Return a bar (accuracy) and a dot (mean confidence) for each bin that has images."""
    max_count, bin_width = max(1, int(reliability.counts.max())), _DIAGRAM_SIDE_UNITS / calibration.BIN_COUNT
    shapes: list[Markup] = []
    for bin_index, (count, confidence, accuracy) in enumerate(
        zip(reliability.counts.tolist(), reliability.confidence.tolist(), reliability.accuracy.tolist(), strict=True)
    ):
        if not count:
            continue
        tooltip = messages.get_text(
            "inspect.reliability.bin",
            count=f"{count:,}",
            confidence=format_percent(confidence),
            accuracy=format_percent(accuracy),
        )
        x_attributes = {"x": f"{_LEFT_MARGIN_UNITS + bin_index * bin_width + 1:.1f}", "width": f"{bin_width - 2:.1f}"}
        y_attributes = {
            "y": f"{_DIAGRAM_SIDE_UNITS * (1 - accuracy):.1f}",
            "height": f"{_DIAGRAM_SIDE_UNITS * accuracy:.1f}",
        }
        # The accuracy of a bin with few images is uncertain: its bar is pale.
        bar_shape = tag(
            "rect",
            tag("title", tooltip),
            **x_attributes,
            **y_attributes,
            class_="got",
            opacity=f"{0.35 + 0.65 * count / max_count:.2f}",
        )
        confidence_y = f"{_DIAGRAM_SIDE_UNITS * (1 - confidence):.1f}"
        confidence_x = f"{_LEFT_MARGIN_UNITS + confidence * _DIAGRAM_SIDE_UNITS:.1f}"
        shapes += [bar_shape, tag("circle", cx=confidence_x, cy=confidence_y, r="2.4", class_="meant")]
    return shapes


def _render_ticks() -> list[Markup]:
    """Return the labels 0 %, 50 % and 100 % of both axes."""
    return [
        tick
        for fraction in (0, 0.5, 1)
        for tick in (
            tag(
                "text",
                f"{fraction:.0%}",
                x=_LEFT_MARGIN_UNITS - 5,
                y=f"{_DIAGRAM_SIDE_UNITS * (1 - fraction) + 4:.0f}",
                text_anchor="end",
            ),
            tag(
                "text",
                f"{fraction:.0%}",
                x=f"{_LEFT_MARGIN_UNITS + fraction * _DIAGRAM_SIDE_UNITS:.0f}",
                y=_DIAGRAM_SIDE_UNITS + 14,
                text_anchor="middle",
            ),
        )
    ]
