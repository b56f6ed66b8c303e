"""Training curves of a run as SVG: a pure function of its history.

Coordinates are the data: the points of a polyline are `step,value` as measured, and the `viewBox` does the scaling.
So the drawing stretches to any width without its text growing, its values can be read back (by the read-out of
`static/live.js` and by tests), and an update is a few kilobytes however long the run is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ftlab.core import messages
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs.curves import AxisScale, CurvePoints, TrainingCurves, build_curves
from ftlab.runs.history import History
from ftlab.ui.presentation.buttons import render_full_screen_button

PANEL_HEIGHT_PX, RATE_PANEL_HEIGHT_PX = 190, 44
"""Heights of the panels of loss and accuracy, and of the learning rate, in CSS pixels."""
_MARGIN_FRACTION = 0.035
"""Margin beyond the data on each side, as a fraction of the axis, so that dots at the edge are whole."""
_MAX_DOTTED_POINTS = 60
"""A curve of more points is drawn as a line without dots."""

CurveLine = tuple[str, str, CurvePoints]
"""Style (`raw`, `line`, `dots`), series (`train`, `val`, `rate`) and points of a curve."""


def render_curves(history: History) -> Markup:
    """Render loss, accuracy and learning rate of a run: a legend, three panels, and space for the read-out.

    Colours come from the style sheet. The HTML holds only numbers and escaped messages.

    Args:
        history: events of the run.

    Returns:
        The curves.
    """
    data = build_curves(history)
    loss_lines: list[CurveLine] = [
        ("raw", "train", data.loss),
        ("line", "train", data.loss_smooth),
        ("dots", "val", data.val_loss),
    ]
    accuracy_lines: list[CurveLine] = [
        ("raw", "train", data.accuracy),
        ("line", "train", data.accuracy_smooth),
        ("dots", "val", data.val_accuracy),
    ]
    return tag(
        "div",
        tag("div", render_legend(data), render_full_screen_button("train-curves"), class_="head"),
        _render_panel("loss", data, data.loss_axis, loss_lines),
        _render_panel("accuracy", data, data.accuracy_axis, accuracy_lines),
        _render_panel("rate", data, data.learning_rate_axis, [("line", "rate", data.learning_rate)]),
        tag("div", class_="readout", hidden="hidden"),
        class_="ftlab-curves",
        role="group",
        data_per_epoch=str(data.steps_per_epoch),
        data_steps=str(data.step_count),
        data_margin=str(_MARGIN_FRACTION),
        data_words=messages.get_text("curve.at"),
    )


def _render_panel(name: str, data: TrainingCurves, axis: AxisScale, lines: list[CurveLine]) -> Markup:
    """Render the panel of one metric.

    Args:
        name: `loss`, `accuracy` or `rate`.
        data: curves of the run.
        axis: y axis.
        lines: curves to draw, the first at the bottom.

    Returns:
        The figure.
    """
    height = RATE_PANEL_HEIGHT_PX if name == "rate" else PANEL_HEIGHT_PX
    y_margin = _MARGIN_FRACTION * (axis.high - axis.low)
    bottom, top = axis.low - y_margin, axis.high + y_margin
    has_data = any(len(series.drop_unknown().y) for _, _, series in lines)
    marks = []
    for value in axis.ticks:
        y = format_number(height * (top - value) / (top - bottom))
        marks.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        # The range of an accuracy is known before there are data, that of a loss is not.
        if has_data or name == "accuracy":
            marks.append(tag("text", _VALUE_FORMATTERS[name](value), class_="y", x="-7", y=y, dy=".32em"))
    marks += _render_step_marks(name, data, height)
    curve_tags = [render_series(*line) for line in lines]
    if data.best_point and name != "rate":
        series = data.val_loss if name == "loss" else data.val_accuracy
        # Equal to itself: not NaN. The last one, as a resumed run may have recorded the step twice.
        for value in series.y[(series.x == data.best_point[0]) & (series.y == series.y)][-1:]:
            dot = f"M{data.best_point[0]} {format_number(value)}h0"
            curve_tags += [tag("path", class_="best-ring", d=dot), tag("path", class_="best-dot", d=dot)]
    x_margin = data.step_count * _MARGIN_FRACTION
    view_box = " ".join(map(format_number, (-x_margin, -top, data.step_count + 2 * x_margin, top - bottom)))
    inner = tag(
        "svg",
        # SVG's y axis points down: the group is mirrored, so that coordinates stay the values themselves.
        tag("g", *curve_tags, transform="scale(1,-1)"),
        class_="data",
        width="100%",
        height=str(height),
        preserveAspectRatio="none",
        viewBox=view_box,
    )
    frame = tag(
        "svg",
        *marks,
        inner,
        class_="frame",
        width="100%",
        height=str(height),
        role="img",
        aria_label=describe_curve(name, data),
    )
    caption = tag("figcaption", messages.get_text(f"curve.{name}"))
    return tag("figure", caption, frame, class_=f"panel {name}", data_name=name)


def _render_step_marks(name: str, data: TrainingCurves, height: int) -> list[Markup]:
    """Return the ticks of the x axis, and vertical lines at the starts of later phases and at the best epoch."""
    marks = []
    for epoch in data.epoch_ticks:
        x = _format_x(epoch * data.steps_per_epoch, data)
        marks.append(tag("line", class_="tick", x1=x, x2=x, y1=str(height), y2=str(height + 4)))
        if name != "rate":
            # The panels share one x axis; the narrow panel of the learning rate has no space for its labels.
            marks.append(tag("text", format_number(epoch), class_="x", x=x, y=str(height + 16)))
    if name != "rate":
        marks.append(tag("text", messages.get_text("curve.epoch"), class_="x", x="50%", y=str(height + 34)))
    lines = [(f"phase {code}", step) for code, step in data.phase_marks]
    if data.best_point:
        lines.append(("best", data.best_point[0]))
    for css, step in lines:
        x = _format_x(step, data)
        marks.append(tag("line", class_=css, x1=x, x2=x, y1="0", y2=str(height)))
    return marks


def render_series(style: str, series_name: str, series: CurvePoints) -> Markup:
    """Render a curve as polylines, one for each stretch without a missing value.

    Args:
        style: `raw`, `line` or `dots`.
        series_name: `train`, `val` or `rate`.
        series: the points.

    Returns:
        SVG elements.
    """
    segments: list[list[tuple[str, str]]] = [[]]
    for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True):
        if math.isfinite(y):
            segments[-1].append((format_number(x), format_number(y)))
        elif segments[-1]:
            segments.append([])
    parts = []
    for segment in filter(None, segments):
        parts.append(tag("polyline", class_=f"{style} {series_name}", points=" ".join(f"{x},{y}" for x, y in segment)))
        # A line of length 0 with round caps is a dot that the scaling of the axes does not distort, unlike a circle.
        if len(segment) == 1 or (style == "dots" and len(series.x) <= _MAX_DOTTED_POINTS):
            parts.append(tag("path", class_=f"dot {series_name}", d="".join(f"M{x} {y}h0" for x, y in segment)))
    return join_html(parts)


def render_legend(data: TrainingCurves) -> Markup:
    """Return what each line and mark stands for."""
    entries = [("line train", messages.get_text("curve.train")), ("raw train", messages.get_text("curve.raw"))]
    entries.append(("dots val", messages.get_text(f"curve.{data.validation_split}")))
    entries += [(f"phase {code}", messages.get_text(f"curve.{code}")) for code, _ in data.phase_marks]
    if data.best_point:
        _, epoch, value = data.best_point
        entries.append(("best", messages.get_text("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")))
    return tag(
        "div", *(tag("span", tag("i", class_=css), text, class_="key") for css, text in entries), class_="legend"
    )


def describe_curve(name: str, data: TrainingCurves) -> str:
    """Describe a panel in one sentence, for screen readers.

    Args:
        name: `loss`, `accuracy` or `rate`.
        data: curves of the run.

    Returns:
        The sentence.
    """
    series = {"loss": data.val_loss, "accuracy": data.val_accuracy, "rate": data.learning_rate}[name].drop_unknown()
    if not len(series.y):
        return messages.get_text("curve.spoken.empty", name=messages.get_text(f"curve.{name}"))
    first, last = (_VALUE_FORMATTERS[name](float(value)) for value in (series.y[0], series.y[-1]))
    return messages.get_text(f"curve.spoken.{name}", first=first, last=last, count=len(series.y))


def _format_x(step: float, data: TrainingCurves) -> str:
    """Return the horizontal position of a step in the drawing, in per cent."""
    return f"{format_number(100 * (step / data.step_count + _MARGIN_FRACTION) / (1 + 2 * _MARGIN_FRACTION))}%"


def format_number(value: float) -> str:
    """Return a number as SVG reads it: integers (steps) with all digits, others with five significant digits."""
    value = float(value)
    return str(int(value)) if value == int(value) else f"{value:.5g}"


_VALUE_FORMATTERS: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"{value:.4g}",
    "accuracy": lambda value: f"{100 * value:.4g} %",
    "rate": lambda value: f"{value:.2g}",
}
"""Formats of the values on the y axis."""


def render_guide() -> Markup:
    """Return an explanation of the curves, shown before there are any."""
    topics = ("loss", "accuracy", "untrained", "gap")
    points = [
        tag(
            "li",
            tag("b", messages.get_text(f"curve.guide.{topic}_name")),
            tag("span", messages.get_text(f"curve.guide.{topic}")),
        )
        for topic in topics
    ]
    return tag("div", tag("p", messages.get_text("curve.guide.title")), tag("ul", *points), class_="ftlab-guide")
