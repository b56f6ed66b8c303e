"""Figures for files: training curves, a prediction with its heat map, a picture as the training varies it. No gradio,
and no pyplot.

`matplotlib.figure.Figure` alone keeps no state outside the figure, so several threads may draw at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftlab.core.errors import ConfigError
from ftlab.reporting import fonts
from ftlab.reporting.fonts import text
from ftlab.runs.curves import accuracy_floor, curves, loss_top
from ftlab.runs.history import History
from ftlab.runs.jobs.lr_sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
"""Names of the files that a figure can be written to."""


def check(file: Path) -> None:
    """See that a figure can have that name. Raises `ConfigError` when not."""
    if file.suffix.lower() not in FORMATS:
        raise ConfigError("config.figure", file=file)


def save(figure: Figure, file: Path) -> None:
    """Write a figure, with the folders above it. Raises `ConfigError` when that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=120)
    except OSError as cause:
        raise ConfigError("config.out", file=file, cause=cause.strerror or cause) from cause


def curves_figure(history: History, title: str = "") -> Figure:
    """Loss, accuracy and learning rate of a run (9 × 7 inches), to be saved as a file."""
    data = curves(history, points=4000)
    figure = fonts.figure(9, 7)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1))
    train, val = "#2f6fde", "#e0662a"
    panels = (
        ("loss", data.loss, data.loss_smooth, data.val_loss, 1.0),
        ("accuracy", data.accuracy, data.accuracy_smooth, data.val_accuracy, 100.0),
    )
    for axis, (name, raw, smooth, held, scale) in zip(axes, panels, strict=False):
        axis.plot(raw.x / data.per_epoch, raw.y * scale, color=train, alpha=0.3, linewidth=0.8)
        axis.plot(smooth.x / data.per_epoch, smooth.y * scale, color=train, linewidth=1.8, label=text("curve.train"))
        label = text(f"curve.{data.validation}")
        axis.plot(held.x / data.per_epoch, held.y * scale, "o-", color=val, markersize=4, label=label)
        axis.set_ylabel(text(f"curve.{name}") + (" [%]" if scale > 1 else ""))
        axis.grid(alpha=0.25)
    axes[0].set_ylim(0, loss_top(data))
    axes[1].set_ylim(100 * accuracy_floor(data), 101)
    axes[2].plot(data.rate.x / data.per_epoch, data.rate.y, color="#667085", linewidth=1.5)
    axes[2].set_ylabel(text("curve.rate"))
    axes[2].set_xlabel(text("curve.epoch"))
    if data.turn is not None:
        for axis in axes:
            axis.axvline(data.turn / data.per_epoch, color="#667085", linewidth=1, label=text("curve.fine_tuning"))
    if data.best:
        step, epoch, value = data.best
        label = text("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")
        for axis in axes:
            axis.axvline(step / data.per_epoch, color=val, linestyle=":", label=label)
    axes[1].legend(loc="lower right")
    axes[0].set_title(fonts.line(title), fontsize=11)
    return figure


def comparison_figure(histories: Sequence[History], labels: Sequence[str]) -> Figure:
    """Loss and accuracy on validation of several runs over their epochs (10 × 4.5 inches)."""
    figure = fonts.figure(10, 4.5)
    axes = figure.subplots(1, 2)
    for history, label in zip(histories, labels, strict=True):
        data = curves(history)
        panels = (("loss", data.val_loss, 1.0), ("accuracy", data.val_accuracy, 100.0))
        for axis, (name, series, scale) in zip(axes, panels, strict=True):
            axis.plot(series.x / data.per_epoch, series.y * scale, "o-", markersize=4, label=fonts.line(label))
            axis.set_ylabel(text(f"compare.{name}") + (" [%]" if scale > 1 else ""))
            axis.set_xlabel(text("curve.epoch"))
            axis.grid(alpha=0.25)
    axes[0].legend()
    return figure


def rates_figure(sweep: Sweep) -> Figure:
    """A sweep over learning rates (7 × 4.5 inches): the loss at each, smoothed, and the rate suggested."""
    figure = fonts.figure(7, 4.5)
    axis, smooth = figure.subplots(), sweep.smooth()
    axis.plot(sweep.rates, sweep.losses, color="#2f6fde", alpha=0.3, linewidth=0.8, label=text("curve.raw"))
    axis.plot(sweep.rates, smooth, color="#2f6fde", linewidth=1.8, label=text("train.rate.smooth"))
    suggestion = sweep.suggestion()
    if suggestion is not None:
        label = text("train.rate.mark", rate=f"{suggestion:g}")
        axis.axvline(suggestion, color="#e0662a", linestyle=":", label=label)
    axis.set_xscale("log")
    axis.set_ylim(0, 1.5 * max(smooth[:10]))
    axis.set_xlabel(text("curve.rate"))
    axis.set_ylabel(text("curve.loss"))
    axis.grid(alpha=0.25)
    axis.legend(loc="lower left")
    return figure


def explanation_figure(
    picture: np.ndarray[Any, Any],
    overlay: np.ndarray[Any, Any],
    heat: np.ndarray[Any, Any],
    scores: Sequence[tuple[str, float]],
    before: np.ndarray[Any, Any] | None = None,
    note: str = "",
) -> Figure:
    """A prediction on one sheet (3.6 inches high): picture, heat map, overlay, and the classes as bars.

    Args:
        picture, overlay: uint8 `[H, W, 3]`.
        heat: float `[h, w]` in [0, 1].
        scores: (class, probability), the best first.
        before: the overlay before fine-tuning, uint8 `[H, W, 3]`, shown left of the other.
        note: a sentence below all.
    """
    panels = [("picture", picture), ("heat", heat), ("before", before), ("overlay", overlay)]
    pictures = [(name, one) for name, one in panels if one is not None]
    count = len(pictures)
    figure = fonts.figure(3 * count + 3, 3.6)
    shown = figure.subplots(1, count + 1, width_ratios=(*[1] * count, 1.2))
    if note:
        figure.supxlabel(fonts.line(note), fontsize=9)
    for axis, (name, one) in zip(shown, pictures, strict=False):
        axis.imshow(one, cmap="inferno", vmin=0.0, vmax=1.0)
        axis.set_title(text(f"curve.explain.{name}"), fontsize=11)
        axis.set_axis_off()
    _bars(shown[-1], scores)
    return figure


def pair_figure(
    picture: np.ndarray[Any, Any],
    sides: Sequence[tuple[str, np.ndarray[Any, Any], Sequence[tuple[str, float]]]],
    note: str = "",
) -> Figure:
    """One picture through two models (12 × 6.6 inches): the picture, and in a row of each its overlay and its classes.

    Args:
        picture: uint8 `[H, W, 3]`.
        sides: title, overlay, uint8 `[H, W, 3]`, and (class, probability), the best first, of each model.
        note: a sentence below all.
    """
    figure = fonts.figure(12, 6.6)
    grid = figure.add_gridspec(len(sides), 3, width_ratios=(1.2, 1, 1))
    if note:
        figure.supxlabel(fonts.line(note), fontsize=9)
    shown = [(figure.add_subplot(grid[:, 0]), text("curve.explain.picture"), picture)]
    for number, (title, overlay, scores) in enumerate(sides):
        shown.append((figure.add_subplot(grid[number, 1]), title, overlay))
        _bars(figure.add_subplot(grid[number, 2]), scores)
    for axis, title, one in shown:
        axis.imshow(one)
        axis.set_title("\n".join(map(fonts.line, title.splitlines())), fontsize=10)
        axis.set_axis_off()
    return figure


def _bars(chart: Axes, scores: Sequence[tuple[str, float]]) -> None:
    names = [name for name, _ in scores][::-1]
    values = [100 * value for _, value in scores][::-1]
    bars = chart.barh(range(len(names)), values, color="#2f6fde")
    chart.bar_label(bars, labels=[f"{value:.1f} %" for value in values], padding=3, fontsize=9)
    chart.set_yticks(range(len(names)), [fonts.line(name) for name in names])
    chart.set_xlim(0, 118)
    chart.set_xticks([])
    for side in ("top", "right", "bottom"):
        chart.spines[side].set_visible(False)


def preview_figure(
    evaluation: np.ndarray[Any, Any], variants: Sequence[np.ndarray[Any, Any]], title: str = ""
) -> Figure:
    """A training picture on one sheet (10 × 5.4 inches): the evaluation crop, and nine epochs beside it.

    Args:
        evaluation: uint8 `[side, side, 3]`.
        variants: likewise, of epochs 1, 2 … 9.
        title: what it shows, a file's name for example.
    """
    figure = fonts.figure(10, 5.4)
    grid = figure.add_gridspec(3, 6)
    shown = [(figure.add_subplot(grid[:, :3]), text("preview.evaluation"), evaluation)]
    for number, picture in enumerate(variants):
        axis = figure.add_subplot(grid[number // 3, 3 + number % 3])
        shown.append((axis, text("preview.epoch", epoch=number + 1), picture))
    for axis, name, picture in shown:
        axis.imshow(picture)
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
    figure.suptitle(fonts.line(title), fontsize=11)
    return figure
