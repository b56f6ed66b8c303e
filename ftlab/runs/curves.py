"""Training curves of a run: smoothed and thinned series, with the ranges and ticks of their axes. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ftlab.runs.history import History

MAX_CURVE_POINTS = 320
"""Maximum number of points per series on the page: an update stays a few kilobytes however long the run."""
PHASE_CODES = ("fine_tuning", "all_layers")
"""Codes of the log messages that start a later phase, in the order of the phases."""
_EPOCH_TICK_COUNT, _VALUE_TICK_COUNT = 6, 5
"""Approximate numbers of ticks on the epoch axis and on the loss and accuracy axes."""

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class CurvePoints:
    """Points of one curve.

    Attributes:
        x: optimizer steps, float64 [N], increasing.
        y: values, float64 [N], NaN where unknown.
    """

    x: FloatArray
    y: FloatArray

    def drop_unknown(self) -> CurvePoints:
        """Return the curve without its unknown points."""
        is_known = np.isfinite(self.y)
        return CurvePoints(self.x[is_known], self.y[is_known])


@dataclass(frozen=True)
class AxisScale:
    """Range and tick positions of a value axis, in the units of its series."""

    low: float
    high: float
    ticks: tuple[float, ...]


@dataclass(frozen=True)
class TrainingCurves:
    """Everything that the curves of one run show, thinned: a pure function of its history.

    Attributes:
        step_count: optimizer steps that the x axis spans, at least 1.
        steps_per_epoch: optimizer steps per epoch, at least 1.
        loss: training loss per step in nats (mean since the previous event).
        loss_smooth: centred moving mean of `loss` over a thirtieth of the run.
        val_loss: validation loss, one point per epoch; the untrained network at step 0.
        accuracy: training accuracy per step, in [0, 1].
        accuracy_smooth: centred moving mean of `accuracy` over a thirtieth of the run.
        val_accuracy: validation accuracy, one point per epoch; the untrained network at step 0.
        learning_rate: learning rate per step.
        best_point: step, epoch and validation accuracy of the best epoch; None before there is one.
        phase_marks: starts of later phases, in order: code of the log message, `fine_tuning` where the head was trained
            alone before and `all_layers` where some of the backbone's were frozen, and the step after which it starts.
        validation_split: `val`, or `test` where the test images are used for validation.
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
    phase_marks: tuple[tuple[str, int], ...] = ()
    validation_split: str = "val"

    @property
    def loss_axis(self) -> AxisScale:
        """Axis of the losses, from 0: all of validation fits, and the training losses up to their 98th percentile."""
        val_losses, train_losses = self.val_loss.drop_unknown().y, self.loss.drop_unknown().y
        upper_bounds = [float(val_losses.max())] if len(val_losses) else []
        if len(train_losses):
            # A single wild step must not press the curves flat.
            upper_bounds.append(float(np.quantile(train_losses, 0.98, method="lower")))
        axis_max = max(upper_bounds, default=1.0) * 1.08
        high = axis_max if axis_max > 1e-9 else 1.0
        return AxisScale(0.0, high, tuple(compute_ticks(0.0, high, _VALUE_TICK_COUNT)))

    @property
    def accuracy_axis(self) -> AxisScale:
        """Axis of the accuracies, up to 1: from a round tenth below everything but the lowest fiftieth of the steps."""
        curves = (self.val_accuracy.drop_unknown(), self.accuracy_smooth.drop_unknown())
        lower_bounds = [curve.y.min() for curve in curves if len(curve.y)]
        train_accuracies = self.accuracy.drop_unknown().y
        if len(train_accuracies):
            lower_bounds.append(float(np.quantile(train_accuracies, 0.02)))
        # At most 0.9: a run that is right nearly everywhere still gets an axis of a tenth.
        low = max(0.0, min(0.9, math.floor(min(lower_bounds, default=0.0) * 10 - 0.5) / 10))
        return AxisScale(low, 1.0, tuple(compute_ticks(low, 1.0, _VALUE_TICK_COUNT)))

    @property
    def learning_rate_axis(self) -> AxisScale:
        """Axis of the learning rates, from 0, with one tick at the highest: its strip has no room for more."""
        rates = self.learning_rate.drop_unknown().y
        high = float(rates.max()) if len(rates) and rates.max() > 0 else 1.0
        return AxisScale(0.0, high, (high,))

    @property
    def epoch_ticks(self) -> list[float]:
        """Tick positions of the x axis in epochs: whole ones, but fractions while less than one epoch is shown."""
        epochs = self.step_count / self.steps_per_epoch
        tick_values = compute_ticks(0, epochs, _EPOCH_TICK_COUNT)
        return tick_values if epochs < 1 else [value for value in tick_values if value == int(value)]


def build_curves(history: History, max_points: int = MAX_CURVE_POINTS) -> TrainingCurves:
    """Build the curves of a run.

    Args:
        history: events of the run so far.
        max_points: maximum number of points per series, approximately.

    Returns:
        The thinned and smoothed curves.
    """
    start_event = history.start_event
    steps_per_epoch = max(1, start_event.steps_per_epoch if start_event else 1)
    # A run that has ended: the axis ends with the data. Otherwise it spans the whole run and shows what is to come.
    step_span = history.steps_done if history.end_event else history.total_steps
    window = max(5, max(step_span, history.steps_done) // 30)
    # Copies: another thread may append to the history while its curves are built.
    epochs = list(history.epochs)
    x, loss, accuracy, learning_rates = map(np.asarray, history.step_columns.copy_columns())
    learning_rate = CurvePoints(x, learning_rates)
    epoch_steps = _to_float_array([row.step for row in epochs])
    if not len(x):  # epochs without single steps: their means are the best that is known
        x = epoch_steps
        loss = _to_float_array([row.train_loss for row in epochs])
        accuracy = _to_float_array([row.train_accuracy for row in epochs])
    best_epoch = history.best_epoch
    # A resumed run logs its phase again. Values of a log message come from a file, so their type is checked.
    phase_steps: dict[str, int] = {}
    for log_message in history.log_messages:
        step = log_message.values.get("step")
        if log_message.code in PHASE_CODES and isinstance(step, int):
            phase_steps[log_message.code] = step
    return TrainingCurves(
        step_count=max(1, step_span, history.steps_done),
        steps_per_epoch=steps_per_epoch,
        loss=thin_curve(CurvePoints(x, loss), max_points),
        loss_smooth=_smooth_curve(CurvePoints(x, loss), window, max_points // 2),
        val_loss=thin_curve(CurvePoints(epoch_steps, _to_float_array([row.val_loss for row in epochs])), max_points),
        accuracy=thin_curve(CurvePoints(x, accuracy), max_points),
        accuracy_smooth=_smooth_curve(CurvePoints(x, accuracy), window, max_points // 2),
        val_accuracy=thin_curve(
            CurvePoints(epoch_steps, _to_float_array([row.val_accuracy for row in epochs])), max_points
        ),
        learning_rate=thin_curve(learning_rate, max_points // 3),
        best_point=(
            (best_epoch.step, best_epoch.epoch, best_epoch.val_accuracy)
            if best_epoch and best_epoch.val_accuracy is not None
            else None
        ),
        phase_marks=tuple((code, phase_steps[code]) for code in PHASE_CODES if code in phase_steps),
        validation_split=start_event.validation if start_event else "val",
    )


def thin_curve(curve: CurvePoints, max_points: int) -> CurvePoints:
    """Reduce a curve to its extrema, so that no peak is lost (min-max decimation).

    Args:
        curve: the curve to thin.
        max_points: approximate maximum number of points: the lowest and the highest of each of `max_points / 2` equal
            stretches, and both ends.

    Returns:
        The thinned curve; the same object where it is short enough. Unknown values are kept only where a whole stretch
        is unknown (a gap).
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
    """Compute round tick positions: 1, 2 or 5 times a power of ten apart.

    Args:
        low: lower end of the axis.
        high: upper end of the axis.
        count: number of ticks, approximately.

    Returns:
        Positions inside `[low, high]`; only `low` where the range is empty or not finite.
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough_step = span / max(1, count)
    magnitude = 10.0 ** math.floor(math.log10(rough_step))
    # Tolerances and rounding, because 0.1 + 0.2 must neither lose the tick at 0.3 nor show 0.30000000000000004.
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= rough_step * 0.999)
    first_index, last_index = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first_index, last_index + 1)]


def _smooth_curve(curve: CurvePoints, window: int, max_points: int) -> CurvePoints:
    """Compute a centred moving mean, which has no lag, at evenly spread steps.

    Args:
        curve: the curve to smooth.
        window: width of the mean in optimizer steps.
        max_points: maximum number of steps at which it is computed; both ends are among them.

    Returns:
        The means; NaN where no known value lies within the window.
    """
    x, y = curve.x, curve.y
    if not len(x):
        return curve
    is_known = np.isfinite(y)
    # Differences of cumulative sums make it linear in the number of steps, whatever the window.
    cumulative_sum = np.concatenate([[0.0], np.cumsum(np.where(is_known, y, 0.0))])
    cumulative_count = np.concatenate([[0], np.cumsum(is_known)])
    centers = x[np.unique(np.linspace(0, len(x) - 1, min(max_points, len(x))).round().astype(int))]
    window_start = np.searchsorted(x, centers - window / 2, side="left")
    window_end = np.searchsorted(x, centers + window / 2, side="right")
    known_counts = cumulative_count[window_end] - cumulative_count[window_start]
    window_sums = cumulative_sum[window_end] - cumulative_sum[window_start]
    return CurvePoints(centers, np.where(known_counts > 0, window_sums / np.maximum(known_counts, 1), np.nan))


def _to_float_array(values: Sequence[float | None]) -> FloatArray:
    """Return values as float64 [N], None as NaN."""
    return np.array(values, dtype=np.float64)
