"""The curves of a run as SVG: a pure function of its history.

The drawings' coordinates are the data: a polyline's points are `step,value` as measured, the `viewBox` does the
scaling. So the page stretches to any width without its text growing, what is drawn can be read back (the read-out of
`static/live.js` and the tests do), and an update is a few kilobytes however long the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ftlab.core import messages
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs.curves import (
    CurvePoints,
    TrainingCurves,
    build_curves,
    compute_accuracy_axis_min,
    compute_loss_axis_max,
    compute_ticks,
)
from ftlab.runs.history import History

PANEL_HEIGHT_PX, RATE_PANEL_HEIGHT_PX = 190, 44
"""Heights of the drawings of loss and accuracy, and of the learning rate's strip, in CSS pixels."""
_MARGIN_FRACTION = 0.035
"""Room beyond the data on each side, as a share of the axis, so that dots at the edge are whole."""
_MAX_DOTTED_POINTS = 60
"""A curve of more points than these is a line without dots."""

CurveLine = tuple[str, str, CurvePoints]
"""How it is drawn (`raw`, `line`, `dots`), whose it is (`train`, `val`, `rate`), and its points."""


def render_curves(history: History) -> Markup:
    """Loss, accuracy and learning rate of a run: a legend, three drawings, and room for the read-out.

    Colours come from the style sheet. Only numbers and escaped sentences of the words stand in it.
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
    rate_values = data.learning_rate.drop_unknown().y
    rate_top = float(rate_values.max()) if len(rate_values) and rate_values.max() > 0 else 1.0
    return tag(
        "div",
        render_legend(data),
        _render_panel("loss", data, (0.0, compute_loss_axis_max(data)), loss_lines),
        _render_panel("accuracy", data, (compute_accuracy_axis_min(data), 1.0), accuracy_lines),
        _render_panel("rate", data, (0.0, rate_top), [("line", "rate", data.learning_rate)]),
        tag("div", class_="readout", hidden="hidden"),
        class_="ftlab-curves",
        role="group",
        data_per_epoch=str(data.steps_per_epoch),
        data_steps=str(data.step_count),
        data_margin=str(_MARGIN_FRACTION),
        data_words=messages.get_text("curve.at"),
    )


def _render_panel(name: str, data: TrainingCurves, bounds: tuple[float, float], lines: list[CurveLine]) -> Markup:
    height = RATE_PANEL_HEIGHT_PX if name == "rate" else PANEL_HEIGHT_PX
    low, high = bounds
    bottom, top = low - _MARGIN_FRACTION * (high - low), high + _MARGIN_FRACTION * (high - low)
    has_data = any(len(series.drop_unknown().y) for _, _, series in lines)
    marks = []
    for value in [high] if name == "rate" else compute_ticks(low, high, 5):
        y = format_number(height * (top - value) / (top - bottom))
        marks.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        if has_data or name == "accuracy":
            marks.append(tag("text", _VALUE_FORMATTERS[name](value), class_="y", x="-7", y=y, dy=".32em"))
    for epoch in _choose_epoch_ticks(data):
        x = _format_x(epoch * data.steps_per_epoch, data)
        marks.append(tag("line", class_="tick", x1=x, x2=x, y1=str(height), y2=str(height + 4)))
        if name != "rate":
            marks.append(tag("text", format_number(epoch), class_="x", x=x, y=str(height + 16)))
    for css, step in (("turn", data.fine_tuning_step), ("best", data.best_point[0] if data.best_point else None)):
        if step is not None:
            x = _format_x(step, data)
            marks.append(tag("line", class_=css, x1=x, x2=x, y1="0", y2=str(height)))
    curve_tags = [render_series(*line) for line in lines]
    if data.best_point and name != "rate":
        series = data.val_loss if name == "loss" else data.val_accuracy
        for value in series.y[(series.x == data.best_point[0]) & (series.y == series.y)][-1:]:
            dot = f"M{data.best_point[0]} {format_number(value)}h0"
            curve_tags += [tag("path", class_="best-ring", d=dot), tag("path", class_="best-dot", d=dot)]
    x_margin = data.step_count * _MARGIN_FRACTION
    view_box = " ".join(map(format_number, (-x_margin, -top, data.step_count + 2 * x_margin, top - bottom)))
    inner = tag(
        "svg",
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


def render_series(style: str, series_name: str, series: CurvePoints) -> Markup:
    """A curve as polylines, one for each stretch without a gap."""
    segments: list[list[tuple[str, str]]] = [[]]
    for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True):
        if math.isfinite(y):
            segments[-1].append((format_number(x), format_number(y)))
        elif segments[-1]:
            segments.append([])
    parts = []
    for segment in filter(None, segments):
        parts.append(tag("polyline", class_=f"{style} {series_name}", points=" ".join(f"{x},{y}" for x, y in segment)))
        # A line of length nought with round ends is a dot that no stretching of the axes distorts.
        if len(segment) == 1 or (style == "dots" and len(series.x) <= _MAX_DOTTED_POINTS):
            parts.append(tag("path", class_=f"dot {series_name}", d="".join(f"M{x} {y}h0" for x, y in segment)))
    return join_html(parts)


def render_legend(data: TrainingCurves) -> Markup:
    """What each line and mark stands for."""
    entries = [("line train", messages.get_text("curve.train")), ("raw train", messages.get_text("curve.raw"))]
    entries.append(("dots val", messages.get_text(f"curve.{data.validation_split}")))
    if data.fine_tuning_step is not None:
        entries.append(("turn", messages.get_text("curve.fine_tuning")))
    if data.best_point:
        _, epoch, value = data.best_point
        entries.append(("best", messages.get_text("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")))
    return tag(
        "div", *(tag("span", tag("i", class_=css), text, class_="key") for css, text in entries), class_="legend"
    )


def describe_curve(name: str, data: TrainingCurves) -> str:
    """One sentence for those who cannot see the drawing."""
    series = {"loss": data.val_loss, "accuracy": data.val_accuracy, "rate": data.learning_rate}[name].drop_unknown()
    if not len(series.y):
        return messages.get_text("curve.spoken.empty", name=messages.get_text(f"curve.{name}"))
    first, last = (_VALUE_FORMATTERS[name](float(value)) for value in (series.y[0], series.y[-1]))
    return messages.get_text(f"curve.spoken.{name}", first=first, last=last, count=len(series.y))


def _choose_epoch_ticks(data: TrainingCurves) -> list[float]:
    epochs = data.step_count / data.steps_per_epoch
    tick_values = compute_ticks(0, epochs, 6)
    return tick_values if epochs < 1 else [value for value in tick_values if value == int(value)]


def _format_x(step: float, data: TrainingCurves) -> str:
    """Where a step stands across the drawing, in per cent."""
    return f"{format_number(100 * (step / data.step_count + _MARGIN_FRACTION) / (1 + 2 * _MARGIN_FRACTION))}%"


def format_number(value: float) -> str:
    """A number as SVG reads it, with five significant digits; a step, which is whole, with all of its digits."""
    value = float(value)
    return str(int(value)) if value == int(value) else f"{value:.5g}"


_VALUE_FORMATTERS: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"{value:.4g}",
    "accuracy": lambda value: f"{100 * value:.4g} %",
    "rate": lambda value: f"{value:.2g}",
}
