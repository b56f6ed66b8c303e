"""Figures for files: training curves, learning-rate sweep, prediction, augmentations. No gradio, no pyplot.

`matplotlib.figure.Figure` alone keeps no state outside the figure, so several threads may draw at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftlab.reporting import fonts
from ftlab.reporting.fonts import format_message
from ftlab.runs.curves import TrainingCurves, build_curves
from ftlab.runs.history import History
from ftlab.runs.jobs.lr_sweep import LrSweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN_COLOR, _VAL_COLOR, _NEUTRAL_COLOR = "#2f6fde", "#e0662a", "#667085"


def plot_training_curves(history: History, title: str = "") -> Figure:
    """Plot loss, accuracy and learning rate of a run over its epochs (9 × 7 inches).

    Args:
        history: events of the run.
        title: title of the figure.

    Returns:
        The figure.
    """
    # More points than on the page: a figure may be printed or enlarged.
    data = build_curves(history, max_points=4000)
    figure = fonts.create_figure(9, 7)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1))
    panels = (
        ("loss", data.loss, data.loss_smooth, data.val_loss, 1.0),
        ("accuracy", data.accuracy, data.accuracy_smooth, data.val_accuracy, 100.0),
    )
    # Not strict: the third axes, of the learning rate, has no such panel.
    for ax, (metric, raw_series, smooth_series, validation_series, scale) in zip(axes, panels, strict=False):
        ax.plot(raw_series.x / data.steps_per_epoch, raw_series.y * scale, color=_TRAIN_COLOR, alpha=0.3, linewidth=0.8)
        ax.plot(
            smooth_series.x / data.steps_per_epoch,
            smooth_series.y * scale,
            color=_TRAIN_COLOR,
            linewidth=1.8,
            label=format_message("curve.train"),
        )
        label = format_message(f"curve.{data.validation_split}")
        ax.plot(
            validation_series.x / data.steps_per_epoch,
            validation_series.y * scale,
            "o-",
            color=_VAL_COLOR,
            markersize=4,
            label=label,
        )
        ax.set_ylabel(format_message(f"curve.{metric}") + (" [%]" if scale > 1 else ""))
        ax.grid(alpha=0.25)
    axes[0].set_ylim(0, data.loss_axis.high)
    axes[1].set_ylim(100 * data.accuracy_axis.low, 101)
    axes[2].plot(data.learning_rate.x / data.steps_per_epoch, data.learning_rate.y, color=_NEUTRAL_COLOR, linewidth=1.5)
    axes[2].set_ylabel(format_message("curve.rate"))
    axes[2].set_xlabel(format_message("curve.epoch"))
    _mark_steps(axes, data)
    axes[1].legend(loc="lower right")
    axes[0].set_title(fonts.format_line(title), fontsize=11)
    return figure


def _mark_steps(axes: Iterable[Axes], data: TrainingCurves) -> None:
    """Mark the starts of later phases and the best epoch by vertical lines on all axes."""
    for line_style, (code, step) in zip(("-", "--"), data.phase_marks, strict=False):
        label = format_message(f"curve.{code}")
        for ax in axes:
            ax.axvline(
                step / data.steps_per_epoch, color=_NEUTRAL_COLOR, linewidth=1, linestyle=line_style, label=label
            )
    if data.best_point:
        step, epoch, value = data.best_point
        label = format_message("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")
        for ax in axes:
            ax.axvline(step / data.steps_per_epoch, color=_VAL_COLOR, linestyle=":", label=label)


def plot_run_comparison(histories: Sequence[History], labels: Sequence[str]) -> Figure:
    """Plot validation loss and accuracy of several runs over their epochs (10 × 4.5 inches).

    Args:
        histories: events of each run.
        labels: legend entry of each run.

    Returns:
        The figure.
    """
    figure = fonts.create_figure(10, 4.5)
    axes = figure.subplots(1, 2)
    for history, label in zip(histories, labels, strict=True):
        data = build_curves(history)
        panels = (("loss", data.val_loss, 1.0), ("accuracy", data.val_accuracy, 100.0))
        for ax, (metric, series, scale) in zip(axes, panels, strict=True):
            ax.plot(
                series.x / data.steps_per_epoch, series.y * scale, "o-", markersize=4, label=fonts.format_line(label)
            )
            ax.set_ylabel(format_message(f"compare.{metric}") + (" [%]" if scale > 1 else ""))
            ax.set_xlabel(format_message("curve.epoch"))
            ax.grid(alpha=0.25)
    axes[0].legend()
    return figure


def plot_lr_sweep(sweep: LrSweep) -> Figure:
    """Return a plot of the loss over the learning rates of a sweep (7 × 4.5 inches), with the suggested rate."""
    figure = fonts.create_figure(7, 4.5)
    ax, smooth_losses = figure.subplots(), sweep.smooth_losses()
    ax.plot(sweep.rates, sweep.losses, color=_TRAIN_COLOR, alpha=0.3, linewidth=0.8, label=format_message("curve.raw"))
    ax.plot(sweep.rates, smooth_losses, color=_TRAIN_COLOR, linewidth=1.8, label=format_message("train.rate.smooth"))
    suggestion = sweep.suggest_learning_rate()
    if suggestion is not None:
        label = format_message("train.rate.mark", rate=f"{suggestion:g}")
        ax.axvline(suggestion, color=_VAL_COLOR, linestyle=":", label=label)
    ax.set_xscale("log")
    # Scaled to the losses at small rates: at the end of the sweep the loss diverges, by design.
    ax.set_ylim(0, 1.5 * max(smooth_losses[:10]))
    ax.set_xlabel(format_message("curve.rate"))
    ax.set_ylabel(format_message("curve.loss"))
    ax.grid(alpha=0.25)
    ax.legend(loc="lower left")
    return figure


def plot_explanation(
    image: np.ndarray[Any, Any],
    overlay: np.ndarray[Any, Any],
    heatmap: np.ndarray[Any, Any],
    scores: Sequence[tuple[str, float]],
    baseline_overlay: np.ndarray[Any, Any] | None = None,
    caption: str = "",
) -> Figure:
    """Plot a prediction (3.6 inches high): image, heatmap, overlay, and the class probabilities as bars.

    Args:
        image: uint8 [H, W, 3] RGB.
        overlay: heatmap over the image, uint8 [H, W, 3] RGB.
        heatmap: float [h, w] in [0, 1].
        scores: (class, probability), the most probable first.
        baseline_overlay: overlay before fine-tuning, uint8 [H, W, 3] RGB, shown left of `overlay`.
        caption: a sentence below the panels.

    Returns:
        The figure.
    """
    panels = [("picture", image), ("heat", heatmap), ("before", baseline_overlay), ("overlay", overlay)]
    shown_panels = [(name, panel_image) for name, panel_image in panels if panel_image is not None]
    count = len(shown_panels)
    figure = fonts.create_figure(3 * count + 3, 3.6)
    axes = figure.subplots(1, count + 1, width_ratios=(*[1] * count, 1.2))
    if caption:
        figure.supxlabel(fonts.format_line(caption), fontsize=9)
    for ax, (name, panel_image) in zip(axes, shown_panels, strict=False):
        # Colour map and limits apply to the 2-d heatmap only; matplotlib ignores them for RGB.
        ax.imshow(panel_image, cmap="inferno", vmin=0.0, vmax=1.0)
        # `y`: where matplotlib would put it, which it else finds out by measuring all ticks, that are not shown.
        ax.set_title(format_message(f"curve.explain.{name}"), fontsize=11, y=1.0)
        ax.set_axis_off()
    _draw_score_bars(axes[-1], scores)
    return figure


def plot_model_comparison(
    image: np.ndarray[Any, Any],
    model_panels: Sequence[tuple[str, np.ndarray[Any, Any], Sequence[tuple[str, float]]]],
    caption: str = "",
) -> Figure:
    """Plot the predictions of several models for one image (12 × 6.6 inches): the image, and a row for each model.

    Args:
        image: uint8 [H, W, 3] RGB.
        model_panels: title, overlay (uint8 [H, W, 3] RGB) and scores (class, probability; the most probable first) of
            each model.
        caption: a sentence below the panels.

    Returns:
        The figure.
    """
    figure = fonts.create_figure(12, 6.6)
    grid = figure.add_gridspec(len(model_panels), 3, width_ratios=(1.2, 1, 1))
    if caption:
        figure.supxlabel(fonts.format_line(caption), fontsize=9)
    panels = [(figure.add_subplot(grid[:, 0]), format_message("curve.explain.picture"), image)]
    for row, (title, overlay, scores) in enumerate(model_panels):
        panels.append((figure.add_subplot(grid[row, 1]), title, overlay))
        _draw_score_bars(figure.add_subplot(grid[row, 2]), scores)
    for ax, title, panel_image in panels:
        ax.imshow(panel_image)
        ax.set_title("\n".join(map(fonts.format_line, title.splitlines())), fontsize=10)
        ax.set_axis_off()
    return figure


def _draw_score_bars(ax: Axes, scores: Sequence[tuple[str, float]]) -> None:
    """Draw class probabilities as horizontal bars.

    Args:
        ax: axes to draw on.
        scores: (class, probability), the most probable first.
    """
    # `barh` counts from the bottom; the most probable class is on top.
    names = [name for name, _ in scores][::-1]
    values = [100 * value for _, value in scores][::-1]
    bars = ax.barh(range(len(names)), values, color=_TRAIN_COLOR)
    ax.bar_label(bars, labels=[f"{value:.1f} %" for value in values], padding=3, fontsize=9)
    ax.set_yticks(range(len(names)), [fonts.format_line(name) for name in names])
    # Beyond 100 %, space for the number right of a full bar.
    ax.set_xlim(0, 118)
    ax.set_xticks([])
    for spine_name in ("top", "right", "bottom"):
        ax.spines[spine_name].set_visible(False)


def plot_augmentations(
    evaluation_image: np.ndarray[Any, Any], augmented_images: Sequence[np.ndarray[Any, Any]], title: str = ""
) -> Figure:
    """Plot an augmented training image (10 × 5.4 inches): the evaluation crop, and nine epochs next to it.

    Args:
        evaluation_image: uint8 [S, S, 3] RGB.
        augmented_images: uint8 [S, S, 3] RGB each, of epochs 1, 2 … 9.
        title: title of the figure, a file name for example.

    Returns:
        The figure.
    """
    figure = fonts.create_figure(10, 5.4)
    grid = figure.add_gridspec(3, 6)
    panels = [(figure.add_subplot(grid[:, :3]), format_message("preview.evaluation"), evaluation_image)]
    for variant_index, image in enumerate(augmented_images):
        ax = figure.add_subplot(grid[variant_index // 3, 3 + variant_index % 3])
        panels.append((ax, format_message("preview.epoch", epoch=variant_index + 1), image))
    for ax, panel_title, image in panels:
        ax.imshow(image)
        ax.set_title(panel_title, fontsize=10)
        ax.set_axis_off()
    figure.suptitle(fonts.format_line(title), fontsize=11)
    return figure
