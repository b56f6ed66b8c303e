"""The training curves of a run: its rows smoothed and thinned, and the ranges of its axes. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ftlab.runs.history import History

POINTS = 320
"""At most this many points of a series go to the page."""

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
        turn: steps after which fine-tuning starts, where the head learns alone before; None before that is told.
        validation: `val`, or `test` where the test pictures validate.
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
    turn: int | None = None
    validation: str = "val"


def curves(history: History, points: int = POINTS) -> Curves:
    """What there is to draw of a run, each series thinned to at most about `points` points."""
    started = history.started
    per_epoch = max(1, started.steps_per_epoch if started else 1)
    # Over: the axis ends with the data. Under way: it spans the whole run and shows what is to come.
    span = history.step if history.ended else history.steps_total
    window = max(5, max(span, history.step) // 30)
    epochs = list(history.epochs)  # it may grow meanwhile, as the steps may
    x, loss, accuracy, rates = map(np.asarray, history.columns.copies())
    rate = Series(x, rates)
    at = _column([row.step for row in epochs])
    if not len(x):
        x = at
        loss = _column([row.train_loss for row in epochs])
        accuracy = _column([row.train_accuracy for row in epochs])
    best = history.best
    turns = [note.values.get("step") for note in history.log if note.code == "fine_tuning"]
    turn = next((step for step in reversed(turns) if isinstance(step, int)), None)
    return Curves(
        steps=max(1, span, history.step),
        per_epoch=per_epoch,
        loss=thin(Series(x, loss), points),
        loss_smooth=_smooth(Series(x, loss), window, points // 2),
        val_loss=thin(Series(at, _column([row.val_loss for row in epochs])), points),
        accuracy=thin(Series(x, accuracy), points),
        accuracy_smooth=_smooth(Series(x, accuracy), window, points // 2),
        val_accuracy=thin(Series(at, _column([row.val_accuracy for row in epochs])), points),
        rate=thin(rate, points // 3),
        best=(best.step, best.epoch, best.val_accuracy) if best and best.val_accuracy is not None else None,
        turn=turn,
        validation=started.validation if started else "val",
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


def _smooth(series: Series, window: int, points: int) -> Series:
    """Centred moving mean over `window` steps, at no more than `points` of them, evenly spread, both ends among them;
    NaN where no value lies within. No lag."""
    x, y = series.x, series.y
    if not len(x):
        return series
    known = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    at = x[np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).round().astype(int))]
    low = np.searchsorted(x, at - window / 2, side="left")
    high = np.searchsorted(x, at + window / 2, side="right")
    seen = count[high] - count[low]
    return Series(at, np.where(seen > 0, (total[high] - total[low]) / np.maximum(seen, 1), np.nan))


def _column(values: Sequence[float | None]) -> Array:
    return np.array(values, dtype=np.float64)
