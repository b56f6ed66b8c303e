"""The curves of a run as SVG: a pure function of its history.

The drawings' coordinates are the data: a polyline's points are `step,value` as measured, the `viewBox` does the
scaling. So the page stretches to any width without its text growing, what is drawn can be read back (the read-out of
`static/live.js` and the tests do), and an update is a few kilobytes however long the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ftlab.core import messages
from ftlab.core.html import Markup, join, tag
from ftlab.runs.curves import Curves, Series, accuracy_floor, curves, loss_top, ticks
from ftlab.runs.history import History

HEIGHT, STRIP = 190, 44
"""Heights of the drawings of loss and accuracy, and of the learning rate's strip, in CSS pixels."""
_MARGIN = 0.035
"""Room beyond the data on each side, as a share of the axis, so that dots at the edge are whole."""
_DOTTED = 60
"""A curve of more points than these is a line without dots."""

Line = tuple[str, str, Series]
"""How it is drawn (`raw`, `line`, `dots`), whose it is (`train`, `val`, `rate`), and its points."""


def drawing(history: History) -> Markup:
    """Loss, accuracy and learning rate of a run: a legend, three drawings, and room for the read-out.

    Colours come from the style sheet. Only numbers and escaped sentences of the words stand in it.
    """
    data = curves(history)
    losses: list[Line] = [
        ("raw", "train", data.loss),
        ("line", "train", data.loss_smooth),
        ("dots", "val", data.val_loss),
    ]
    accuracies: list[Line] = [
        ("raw", "train", data.accuracy),
        ("line", "train", data.accuracy_smooth),
        ("dots", "val", data.val_accuracy),
    ]
    rates = data.rate.known().y
    rate_top = float(rates.max()) if len(rates) and rates.max() > 0 else 1.0
    return tag(
        "div",
        legend(data),
        _panel("loss", data, (0.0, loss_top(data)), losses),
        _panel("accuracy", data, (accuracy_floor(data), 1.0), accuracies),
        _panel("rate", data, (0.0, rate_top), [("line", "rate", data.rate)]),
        tag("div", class_="readout", hidden="hidden"),
        class_="ftlab-curves",
        role="group",
        data_per_epoch=str(data.per_epoch),
        data_steps=str(data.steps),
        data_margin=str(_MARGIN),
        data_words=messages.text("curve.at"),
    )


def _panel(name: str, data: Curves, bounds: tuple[float, float], lines: list[Line]) -> Markup:
    height = STRIP if name == "rate" else HEIGHT
    low, high = bounds
    bottom, top = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    measured = any(len(series.known().y) for _, _, series in lines)
    marks = []
    for value in [high] if name == "rate" else ticks(low, high, 5):
        y = number(height * (top - value) / (top - bottom))
        marks.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        if measured or name == "accuracy":
            marks.append(tag("text", _SHOWN[name](value), class_="y", x="-7", y=y, dy=".32em"))
    for epoch in _epoch_ticks(data):
        x = _across(epoch * data.per_epoch, data)
        marks.append(tag("line", class_="tick", x1=x, x2=x, y1=str(height), y2=str(height + 4)))
        if name != "rate":
            marks.append(tag("text", number(epoch), class_="x", x=x, y=str(height + 16)))
    for css, step in (("turn", data.turn), ("best", data.best[0] if data.best else None)):
        if step is not None:
            x = _across(step, data)
            marks.append(tag("line", class_=css, x1=x, x2=x, y1="0", y2=str(height)))
    curves_drawn = [draw(*line) for line in lines]
    if data.best and name != "rate":
        series = data.val_loss if name == "loss" else data.val_accuracy
        for value in series.y[(series.x == data.best[0]) & (series.y == series.y)][-1:]:
            dot = f"M{data.best[0]} {number(value)}h0"
            curves_drawn += [tag("path", class_="best-ring", d=dot), tag("path", class_="best-dot", d=dot)]
    space = data.steps * _MARGIN
    box = " ".join(map(number, (-space, -top, data.steps + 2 * space, top - bottom)))
    inner = tag(
        "svg",
        tag("g", *curves_drawn, transform="scale(1,-1)"),
        class_="data",
        width="100%",
        height=str(height),
        preserveAspectRatio="none",
        viewBox=box,
    )
    frame = tag(
        "svg",
        *marks,
        inner,
        class_="frame",
        width="100%",
        height=str(height),
        role="img",
        aria_label=spoken(name, data),
    )
    caption = tag("figcaption", messages.text(f"curve.{name}"))
    return tag("figure", caption, frame, class_=f"panel {name}", data_name=name)


def draw(kind: str, whose: str, series: Series) -> Markup:
    """A curve as polylines, one for each stretch without a gap."""
    pieces: list[list[tuple[str, str]]] = [[]]
    for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True):
        if math.isfinite(y):
            pieces[-1].append((number(x), number(y)))
        elif pieces[-1]:
            pieces.append([])
    parts = []
    for piece in filter(None, pieces):
        parts.append(tag("polyline", class_=f"{kind} {whose}", points=" ".join(f"{x},{y}" for x, y in piece)))
        # A line of length nought with round ends is a dot that no stretching of the axes distorts.
        if len(piece) == 1 or (kind == "dots" and len(series.x) <= _DOTTED):
            parts.append(tag("path", class_=f"dot {whose}", d="".join(f"M{x} {y}h0" for x, y in piece)))
    return join(parts)


def legend(data: Curves) -> Markup:
    """What each line and mark stands for."""
    keys = [("line train", messages.text("curve.train")), ("raw train", messages.text("curve.raw"))]
    keys.append(("dots val", messages.text(f"curve.{data.validation}")))
    if data.turn is not None:
        keys.append(("turn", messages.text("curve.fine_tuning")))
    if data.best:
        _, epoch, value = data.best
        keys.append(("best", messages.text("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")))
    return tag("div", *(tag("span", tag("i", class_=css), text, class_="key") for css, text in keys), class_="legend")


def spoken(name: str, data: Curves) -> str:
    """One sentence for those who cannot see the drawing."""
    series = {"loss": data.val_loss, "accuracy": data.val_accuracy, "rate": data.rate}[name].known()
    if not len(series.y):
        return messages.text("curve.spoken.empty", name=messages.text(f"curve.{name}"))
    first, last = (_SHOWN[name](float(value)) for value in (series.y[0], series.y[-1]))
    return messages.text(f"curve.spoken.{name}", first=first, last=last, count=len(series.y))


def _epoch_ticks(data: Curves) -> list[float]:
    epochs = data.steps / data.per_epoch
    found = ticks(0, epochs, 6)
    return found if epochs < 1 else [value for value in found if value == int(value)]


def _across(step: float, data: Curves) -> str:
    """Where a step stands across the drawing, in per cent."""
    return f"{number(100 * (step / data.steps + _MARGIN) / (1 + 2 * _MARGIN))}%"


def number(value: float) -> str:
    """A number as SVG reads it, with five significant digits; a step, which is whole, with all of its digits."""
    value = float(value)
    return str(int(value)) if value == int(value) else f"{value:.5g}"


_SHOWN: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"{value:.4g}",
    "accuracy": lambda value: f"{100 * value:.4g} %",
    "rate": lambda value: f"{value:.2g}",
}
