"""The training curves of a run as SVG for the page: rows in, a piece of HTML out. No gradio.

The live curves are SVG whose coordinates are the data: a polyline's points are `step,value` as measured, the
`viewBox` does the scaling. So the page stretches to any width without its text growing, what is drawn can be read
back (the hover read-out and the tests do), and an update is a few kilobytes at any length of the run.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ftlab import words
from ftlab.history import History

POINTS = 320
"""At most this many points of a series go to the page."""
HEIGHT = 190
"""Height of the drawing area of loss and accuracy, CSS pixels."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Series:
    """One curve: `x` float64 `[N]` optimizer steps, rising; `y` float64 `[N]`, NaN where it is not known."""

    x: Array
    y: Array

    def known(self) -> Series:
        """The same without its unknown points."""
        here = np.isfinite(self.y)
        return Series(self.x[here], self.y[here])


@dataclass(frozen=True)
class Curves:
    """All that the curves of one run show, thinned: a pure function of its history.

    Attributes:
        steps: optimizer steps that the axis spans, at least 1.
        per_epoch: optimizer steps of an epoch, at least 1.
        loss, accuracy: training, step by step (means since the event before). Nats; fractions.
        loss_smooth, accuracy_smooth: the same, as a centred moving mean over a thirtieth of the run.
        val_loss, val_accuracy: validation, one point an epoch, the untrained network at step 0.
        rate: learning rate.
        best: step, epoch, validation accuracy of the best epoch; None before there is one.
    """

    steps: int
    per_epoch: int
    loss: Series
    loss_smooth: Series
    val_loss: Series
    accuracy: Series
    accuracy_smooth: Series
    val_accuracy: Series
    rate: Series
    best: tuple[int, int, float] | None


def curves(history: History, points: int = POINTS) -> Curves:
    """What there is to draw of a run, each series thinned to at most about `points` points."""
    started = history.started
    per_epoch = max(1, started.steps_per_epoch if started else 1)
    # Over: the axis ends with the data. Under way: it spans the whole run and shows what is to come.
    span = history.step if history.ended else history.steps_total
    window = max(5, max(span, history.step) // 30)
    rows, epochs = history.steps, history.epochs
    x = _column([row.step for row in rows])
    at = _column([row.step for row in epochs])
    loss, accuracy = _column([row.loss for row in rows]), _column([row.accuracy for row in rows])
    if not rows:
        x = at
        loss = _column([row.train_loss for row in epochs])
        accuracy = _column([row.train_accuracy for row in epochs])
    rate = Series(_column([row.step for row in rows]), _column([row.learning_rate for row in rows]))
    best = history.best
    return Curves(
        steps=max(1, span, history.step),
        per_epoch=per_epoch,
        loss=thin(Series(x, loss), points),
        loss_smooth=thin(Series(x, _smooth(x, loss, window)), points // 2),
        val_loss=thin(Series(at, _column([row.val_loss for row in epochs])), points),
        accuracy=thin(Series(x, accuracy), points),
        accuracy_smooth=thin(Series(x, _smooth(x, accuracy, window)), points // 2),
        val_accuracy=thin(Series(at, _column([row.val_accuracy for row in epochs])), points),
        rate=thin(rate, points // 3),
        best=(best.step, best.epoch, best.val_accuracy) if best and best.val_accuracy is not None else None,
    )


def thin(series: Series, points: int) -> Series:
    """At most about `points` of its points: the lowest and the highest of each of `points / 2` equal stretches, and
    both ends, so that no peak is lost. Unknown values are kept only where a whole stretch is unknown (a gap).
    """
    count = len(series.x)
    if count <= points:
        return series
    edges = np.linspace(0, count, max(1, points // 2) + 1).astype(int)
    keep = {0, count - 1}
    for low, high in pairwise(edges):
        part = series.y[low:high]
        if np.isnan(part).all():
            keep.add(int(low))
            continue
        keep |= {int(low + np.nanargmin(part)), int(low + np.nanargmax(part))}
    chosen = sorted(keep)
    return Series(series.x[chosen], series.y[chosen])


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside `[low, high]`, about `count` of them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def curves_svg(history: History) -> str:
    """Loss, accuracy and learning rate of a run as one piece of HTML with three SVG drawings and their legend.

    Colours come from the page's style (`ftlab-curves` classes). Only numbers and sentences of the words, escaped,
    stand in it. Values can be read back from the points, which are `step,value`.
    """
    data = curves(history)
    top = loss_top(data)
    floor = accuracy_floor(data)
    panels = [
        _panel(
            "loss",
            data,
            (0.0, top),
            [("raw", "train", data.loss), ("line", "train", data.loss_smooth), ("dots", "val", data.val_loss)],
            _format_loss,
            HEIGHT,
        ),
        _panel(
            "accuracy",
            data,
            (floor, 1.0),
            [
                ("raw", "train", data.accuracy),
                ("line", "train", data.accuracy_smooth),
                ("dots", "val", data.val_accuracy),
            ],
            _format_percent,
            HEIGHT,
        ),
        _panel("rate", data, (0.0, _rate_top(data)), [("line", "rate", data.rate)], _format_rate, 44),
    ]
    return (
        f'<div class="ftlab-curves" data-per-epoch="{data.per_epoch}" data-steps="{data.steps}" '
        f'data-words="{html.escape(words.text("curve.at"))}" role="group">'
        f"{_legend(data)}{''.join(panels)}"
        f'<div class="readout" hidden=""></div></div>'
    )


def _panel(
    name: str,
    data: Curves,
    bounds: tuple[float, float],
    drawn: Sequence[tuple[str, str, Series]],
    show: Any,
    height: int,
) -> str:
    low, high = bounds
    title = words.text(f"curve.{name}")
    marks = []
    for value in ticks(low, high, 5) if height > 100 else [high]:
        y = _number(height * (high - value) / (high - low))
        marks.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        marks.append(f'<text class="y" x="-7" y="{y}" dy=".32em">{show(value)}</text>')
    for epoch in _epoch_ticks(data):
        x = f"{_number(100 * epoch * data.per_epoch / data.steps)}%"
        marks.append(f'<line class="tick" x1="{x}" x2="{x}" y1="{height}" y2="{height + 4}"/>')
        if name != "rate":
            marks.append(f'<text class="x" x="{x}" y="{height + 16}">{_number(epoch)}</text>')
    if data.best:
        x = f"{_number(100 * data.best[0] / data.steps)}%"
        marks.append(f'<line class="best" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    lines = "".join(_draw(kind, who, series) for kind, who, series in drawn)
    if data.best and name != "rate":
        series = data.val_loss if name == "loss" else data.val_accuracy
        value = series.y[series.x == data.best[0]]
        if len(value) and math.isfinite(value[-1]):
            dot = f"M{data.best[0]} {_number(value[-1])}h0"
            lines += f'<path class="best-ring" d="{dot}"/><path class="best-dot" d="{dot}"/>'
    return (
        f'<figure class="panel {name}" data-name="{name}"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg class="frame" width="100%" height="{height}" role="img" aria-label="{html.escape(_spoken(name, data))}">'
        f"{''.join(marks)}"
        f'<svg class="data" width="100%" height="{height}" preserveAspectRatio="none" '
        f'viewBox="0 {_number(-high)} {data.steps} {_number(high - low)}"><g transform="scale(1,-1)">{lines}</g></svg>'
        f"</svg></figure>"
    )


def _draw(kind: str, who: str, series: Series) -> str:
    """A series as polylines, one for each stretch without a gap; `dots` marks its points too."""
    name = f'class="{kind} {who}"'
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True):
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    parts = []
    for piece in filter(None, pieces):
        points = " ".join(f"{_number(x)},{_number(y)}" for x, y in piece)
        parts.append(f'<polyline {name} points="{points}"/>')
        # A line of length nought with round ends is a dot that no stretching of the axes distorts.
        if (kind == "dots" and len(series.x) <= 60) or len(piece) == 1:
            dots = "".join(f"M{_number(x)} {_number(y)}h0" for x, y in piece)
            parts.append(f'<path class="dot {who}" d="{dots}"/>')
    return "".join(parts)


def _legend(data: Curves) -> str:
    entries = [("line train", "train"), ("raw train", "raw"), ("dots val", "val")]
    keys = "".join(
        f'<span class="key"><i class="{css}"></i>{html.escape(words.text(f"curve.{name}"))}</span>'
        for css, name in entries
    )
    if data.best:
        _, epoch, value = data.best
        best = words.text("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")
        keys += f'<span class="key"><i class="best"></i>{html.escape(best)}</span>'
    return f'<div class="legend">{keys}</div>'


def _spoken(name: str, data: Curves) -> str:
    """One sentence for those who cannot see the drawing."""
    series = {"loss": data.val_loss, "accuracy": data.val_accuracy, "rate": data.rate}[name].known()
    if not len(series.y):
        return words.text("curve.spoken.empty", name=words.text(f"curve.{name}"))
    show = {"loss": _format_loss, "accuracy": _format_percent, "rate": _format_rate}[name]
    return words.text(
        f"curve.spoken.{name}", first=show(float(series.y[0])), last=show(float(series.y[-1])), count=len(series.y)
    )


def _epoch_ticks(data: Curves) -> list[float]:
    epochs = data.steps / data.per_epoch
    found = ticks(0, epochs, 6)
    return found if epochs < 1 else [value for value in found if value == int(value)]


def loss_top(data: Curves) -> float:
    """Upper end of the loss axis: all of validation fits, and all of training but the wildest fiftieth."""
    validation, training = data.val_loss.known().y, data.loss.known().y
    highs = [float(validation.max())] if len(validation) else []
    if len(training):
        highs.append(float(np.quantile(training, 0.98, method="lower")))
    top = max(highs, default=1.0) * 1.08
    return top if top > 1e-9 else 1.0


def accuracy_floor(data: Curves) -> float:
    """Lower end of the accuracy axis: a round tenth below everything but single wild steps."""
    lows = [series.known().y.min() for series in (data.val_accuracy, data.accuracy_smooth) if len(series.known().y)]
    raw = data.accuracy.known().y
    if len(raw):
        lows.append(float(np.quantile(raw, 0.02)))
    return max(0.0, min(0.9, math.floor(min(lows, default=0.0) * 10 - 0.5) / 10))


def _rate_top(data: Curves) -> float:
    rates = data.rate.known().y
    return float(rates.max()) if len(rates) and rates.max() > 0 else 1.0


def _smooth(x: Array, y: Array, window: int) -> Array:
    """Centred moving mean of `y` over `window` steps of `x`; NaN where no value lies within. No lag."""
    if not len(x):
        return y
    known = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    low = np.searchsorted(x, x - window / 2, side="left")
    high = np.searchsorted(x, x + window / 2, side="right")
    seen = count[high] - count[low]
    return np.where(seen > 0, (total[high] - total[low]) / np.maximum(seen, 1), np.nan)


def _column(values: Sequence[float | None]) -> Array:
    return np.array(values, dtype=np.float64)


def _number(value: float) -> str:
    """A number with five significant digits, as SVG reads it; a step, which is whole, with all of its digits."""
    value = float(value)
    return str(int(value)) if value == int(value) else f"{value:.5g}"


def _format_loss(value: float) -> str:
    return f"{value:.4g}"


def _format_percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def _format_rate(value: float) -> str:
    return f"{value:.2g}"
