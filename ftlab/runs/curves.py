"""The training curves of a run: its rows smoothed and thinned, and the ranges of its axes. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ftlab.runs.history import History

MAX_CURVE_POINTS = 320
"""At most this many points of a series go to the page."""

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class CurvePoints:
    """One curve: `x` float64 `[N]` optimizer steps, rising; `y` float64 `[N]`, NaN where it is not known."""

    x: FloatArray
    y: FloatArray

    def drop_unknown(self) -> CurvePoints:
        """The same without its unknown points."""
        is_known = np.isfinite(self.y)
        return CurvePoints(self.x[is_known], self.y[is_known])


@dataclass(frozen=True)
class TrainingCurves:
    """All that the curves of one run show, thinned: a pure function of its history.

    Attributes:
        step_count: optimizer steps that the axis spans, at least 1.
        steps_per_epoch: optimizer steps of an epoch, at least 1.
        loss, accuracy: training, step by step (means since the event before). Nats; fractions.
        loss_smooth, accuracy_smooth: the same, as a centred moving mean over a thirtieth of the run.
        val_loss, val_accuracy: validation, one point an epoch, the untrained network at step 0.
        learning_rate: learning rate.
        best_point: step, epoch, validation accuracy of the best epoch; None before there is one.
        fine_tuning_step: steps after which fine-tuning starts, where the head learns alone before; None before that is told.
        validation_split: `val`, or `test` where the test pictures validate.
    """

    step_count: int
    steps_per_epoch: int
    loss: CurvePoints
    loss_smooth: CurvePoints
    val_loss: CurvePoints
    accuracy: CurvePoints
    accuracy_smooth: CurvePoints
    val_accuracy: CurvePoints
    learning_rate: CurvePoints
    best_point: tuple[int, int, float] | None
    fine_tuning_step: int | None = None
    validation_split: str = "val"


def build_curves(history: History, max_points: int = MAX_CURVE_POINTS) -> TrainingCurves:
    """What there is to draw of a run, each series thinned to at most about `max_points` points."""
    start_event = history.start_event
    steps_per_epoch = max(1, start_event.steps_per_epoch if start_event else 1)
    # Over: the axis ends with the data. Under way: it spans the whole run and shows what is to come.
    step_span = history.steps_done if history.end_event else history.total_steps
    window = max(5, max(step_span, history.steps_done) // 30)
    epochs = list(history.epochs)  # it may grow meanwhile, as the steps may
    x, loss, accuracy, learning_rates = map(np.asarray, history.step_columns.copy_columns())
    learning_rate = CurvePoints(x, learning_rates)
    epoch_steps = _to_float_array([row.step for row in epochs])
    if not len(x):
        x = epoch_steps
        loss = _to_float_array([row.train_loss for row in epochs])
        accuracy = _to_float_array([row.train_accuracy for row in epochs])
    best_epoch = history.best_epoch
    fine_tuning_steps = [log_message.values.get("step") for log_message in history.log_messages if log_message.code == "fine_tuning"]
    fine_tuning_step = next((step for step in reversed(fine_tuning_steps) if isinstance(step, int)), None)
    return TrainingCurves(
        step_count=max(1, step_span, history.steps_done),
        steps_per_epoch=steps_per_epoch,
        loss=thin_curve(CurvePoints(x, loss), max_points),
        loss_smooth=_smooth_curve(CurvePoints(x, loss), window, max_points // 2),
        val_loss=thin_curve(CurvePoints(epoch_steps, _to_float_array([row.val_loss for row in epochs])), max_points),
        accuracy=thin_curve(CurvePoints(x, accuracy), max_points),
        accuracy_smooth=_smooth_curve(CurvePoints(x, accuracy), window, max_points // 2),
        val_accuracy=thin_curve(CurvePoints(epoch_steps, _to_float_array([row.val_accuracy for row in epochs])), max_points),
        learning_rate=thin_curve(learning_rate, max_points // 3),
        best_point=(best_epoch.step, best_epoch.epoch, best_epoch.val_accuracy) if best_epoch and best_epoch.val_accuracy is not None else None,
        fine_tuning_step=fine_tuning_step,
        validation_split=start_event.validation if start_event else "val",
    )


def thin_curve(curve: CurvePoints, max_points: int) -> CurvePoints:
    """At most about `max_points` of its points: the lowest and the highest of each of `points / 2` equal stretches, and
    both ends, so that no peak is lost. Unknown values are kept only where a whole stretch is unknown (a gap).
    """
    count = len(curve.x)
    if count <= max_points:
        return curve
    edges = np.linspace(0, count, max(1, max_points // 2) + 1).astype(int)
    indices = {0, count - 1}
    for low, high in pairwise(edges):
        segment = curve.y[low:high]
        if np.isnan(segment).all():
            indices.add(int(low))
            continue
        indices |= {int(low + np.nanargmin(segment)), int(low + np.nanargmax(segment))}
    sorted_indices = sorted(indices)
    return CurvePoints(curve.x[sorted_indices], curve.y[sorted_indices])


def compute_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside `[low, high]`, about `count` of them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough_step = span / max(1, count)
    magnitude = 10.0 ** math.floor(math.log10(rough_step))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= rough_step * 0.999)
    first_index, last_index = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first_index, last_index + 1)]


def compute_loss_axis_max(training_curves: TrainingCurves) -> float:
    """Upper end of the loss axis: all of validation fits, and all of training but the wildest fiftieth."""
    val_losses, train_losses = training_curves.val_loss.drop_unknown().y, training_curves.loss.drop_unknown().y
    upper_bounds = [float(val_losses.max())] if len(val_losses) else []
    if len(train_losses):
        upper_bounds.append(float(np.quantile(train_losses, 0.98, method="lower")))
    axis_max = max(upper_bounds, default=1.0) * 1.08
    return axis_max if axis_max > 1e-9 else 1.0


def compute_accuracy_axis_min(training_curves: TrainingCurves) -> float:
    """Lower end of the accuracy axis: a round tenth below everything but single wild steps."""
    lower_bounds = [curve.drop_unknown().y.min() for curve in (training_curves.val_accuracy, training_curves.accuracy_smooth) if len(curve.drop_unknown().y)]
    train_accuracies = training_curves.accuracy.drop_unknown().y
    if len(train_accuracies):
        lower_bounds.append(float(np.quantile(train_accuracies, 0.02)))
    return max(0.0, min(0.9, math.floor(min(lower_bounds, default=0.0) * 10 - 0.5) / 10))


def _smooth_curve(curve: CurvePoints, window: int, max_points: int) -> CurvePoints:
    """Centred moving mean over `window` steps, at no more than `max_points` of them, evenly spread, both ends among them;
    NaN where no value lies within. No lag."""
    x, y = curve.x, curve.y
    if not len(x):
        return curve
    is_known = np.isfinite(y)
    cumulative_sum = np.concatenate([[0.0], np.cumsum(np.where(is_known, y, 0.0))])
    cumulative_count = np.concatenate([[0], np.cumsum(is_known)])
    centers = x[np.unique(np.linspace(0, len(x) - 1, min(max_points, len(x))).round().astype(int))]
    window_start = np.searchsorted(x, centers - window / 2, side="left")
    window_end = np.searchsorted(x, centers + window / 2, side="right")
    known_counts = cumulative_count[window_end] - cumulative_count[window_start]
    return CurvePoints(centers, np.where(known_counts > 0, (cumulative_sum[window_end] - cumulative_sum[window_start]) / np.maximum(known_counts, 1), np.nan))


def _to_float_array(values: Sequence[float | None]) -> FloatArray:
    return np.array(values, dtype=np.float64)
