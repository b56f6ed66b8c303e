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
from ftlab.reporting.fonts import format_message
from ftlab.runs.curves import build_curves, compute_accuracy_axis_min, compute_loss_axis_max
from ftlab.runs.history import History
from ftlab.runs.jobs.lr_sweep import LrSweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
"""Names of the files that a figure can be written to."""


def check_figure_path(figure_path: Path) -> None:
    """See that a figure can have that name. Raises `ConfigError` when not."""
    if figure_path.suffix.lower() not in FIGURE_SUFFIXES:
        raise ConfigError("config.figure", file=figure_path)


def save_figure(figure: Figure, figure_path: Path) -> None:
    """Write a figure, with the folders above it. Raises `ConfigError` when that cannot be."""
    try:
        figure_path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(figure_path, dpi=120)
    except OSError as cause:
        raise ConfigError("config.out", file=figure_path, cause=cause.strerror or cause) from cause


def plot_training_curves(history: History, title: str = "") -> Figure:
    """Loss, accuracy and learning rate of a run (9 × 7 inches), to be saved as a file."""
    data = build_curves(history, max_points=4000)
    figure = fonts.create_figure(9, 7)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1))
    train_color, val_color = "#2f6fde", "#e0662a"
    panels = (
        ("loss", data.loss, data.loss_smooth, data.val_loss, 1.0),
        ("accuracy", data.accuracy, data.accuracy_smooth, data.val_accuracy, 100.0),
    )
    for ax, (metric, raw_series, smooth_series, validation_series, scale) in zip(axes, panels, strict=False):
        ax.plot(raw_series.x / data.steps_per_epoch, raw_series.y * scale, color=train_color, alpha=0.3, linewidth=0.8)
        ax.plot(
            smooth_series.x / data.steps_per_epoch,
            smooth_series.y * scale,
            color=train_color,
            linewidth=1.8,
            label=format_message("curve.train"),
        )
        label = format_message(f"curve.{data.validation_split}")
        ax.plot(
            validation_series.x / data.steps_per_epoch,
            validation_series.y * scale,
            "o-",
            color=val_color,
            markersize=4,
            label=label,
        )
        ax.set_ylabel(format_message(f"curve.{metric}") + (" [%]" if scale > 1 else ""))
        ax.grid(alpha=0.25)
    axes[0].set_ylim(0, compute_loss_axis_max(data))
    axes[1].set_ylim(100 * compute_accuracy_axis_min(data), 101)
    axes[2].plot(data.learning_rate.x / data.steps_per_epoch, data.learning_rate.y, color="#667085", linewidth=1.5)
    axes[2].set_ylabel(format_message("curve.rate"))
    axes[2].set_xlabel(format_message("curve.epoch"))
    if data.fine_tuning_step is not None:
        for ax in axes:
            ax.axvline(
                data.fine_tuning_step / data.steps_per_epoch,
                color="#667085",
                linewidth=1,
                label=format_message("curve.fine_tuning"),
            )
    if data.best_point:
        step, epoch, value = data.best_point
        label = format_message("curve.best", epoch=epoch, accuracy=f"{100 * value:.1f} %")
        for ax in axes:
            ax.axvline(step / data.steps_per_epoch, color=val_color, linestyle=":", label=label)
    axes[1].legend(loc="lower right")
    axes[0].set_title(fonts.format_line(title), fontsize=11)
    return figure


def plot_run_comparison(histories: Sequence[History], labels: Sequence[str]) -> Figure:
    """Loss and accuracy on validation of several runs over their epochs (10 × 4.5 inches)."""
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
    """A sweep over learning rates (7 × 4.5 inches): the loss at each, smoothed, and the rate suggested."""
    figure = fonts.create_figure(7, 4.5)
    ax, smooth_losses = figure.subplots(), sweep.smooth_losses()
    ax.plot(sweep.rates, sweep.losses, color="#2f6fde", alpha=0.3, linewidth=0.8, label=format_message("curve.raw"))
    ax.plot(sweep.rates, smooth_losses, color="#2f6fde", linewidth=1.8, label=format_message("train.rate.smooth"))
    suggestion = sweep.suggest_learning_rate()
    if suggestion is not None:
        label = format_message("train.rate.mark", rate=f"{suggestion:g}")
        ax.axvline(suggestion, color="#e0662a", linestyle=":", label=label)
    ax.set_xscale("log")
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
    """A prediction on one sheet (3.6 inches high): picture, heat map, overlay, and the classes as bars.

    Args:
        image, overlay: uint8 `[H, W, 3]`.
        heatmap: float `[h, w]` in [0, 1].
        scores: (class, probability), the best first.
        baseline_overlay: the overlay before fine-tuning, uint8 `[H, W, 3]`, shown left of the other.
        caption: a sentence below all.
    """
    panels = [("picture", image), ("heat", heatmap), ("before", baseline_overlay), ("overlay", overlay)]
    shown_panels = [(name, panel_image) for name, panel_image in panels if panel_image is not None]
    count = len(shown_panels)
    figure = fonts.create_figure(3 * count + 3, 3.6)
    axes = figure.subplots(1, count + 1, width_ratios=(*[1] * count, 1.2))
    if caption:
        figure.supxlabel(fonts.format_line(caption), fontsize=9)
    for ax, (name, panel_image) in zip(axes, shown_panels, strict=False):
        ax.imshow(panel_image, cmap="inferno", vmin=0.0, vmax=1.0)
        ax.set_title(format_message(f"curve.explain.{name}"), fontsize=11)
        ax.set_axis_off()
    _draw_score_bars(axes[-1], scores)
    return figure


def plot_model_comparison(
    image: np.ndarray[Any, Any],
    model_panels: Sequence[tuple[str, np.ndarray[Any, Any], Sequence[tuple[str, float]]]],
    caption: str = "",
) -> Figure:
    """One picture through two models (12 × 6.6 inches): the picture, and in a row of each its overlay and its classes.

    Args:
        image: uint8 `[H, W, 3]`.
        model_panels: title, overlay, uint8 `[H, W, 3]`, and (class, probability), the best first, of each model.
        caption: a sentence below all.
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
    names = [name for name, _ in scores][::-1]
    values = [100 * value for _, value in scores][::-1]
    bars = ax.barh(range(len(names)), values, color="#2f6fde")
    ax.bar_label(bars, labels=[f"{value:.1f} %" for value in values], padding=3, fontsize=9)
    ax.set_yticks(range(len(names)), [fonts.format_line(name) for name in names])
    ax.set_xlim(0, 118)
    ax.set_xticks([])
    for spine_name in ("top", "right", "bottom"):
        ax.spines[spine_name].set_visible(False)


def plot_augmentations(
    evaluation_image: np.ndarray[Any, Any], augmented_images: Sequence[np.ndarray[Any, Any]], title: str = ""
) -> Figure:
    """A training picture on one sheet (10 × 5.4 inches): the evaluation crop, and nine epochs beside it.

    Args:
        evaluation_image: uint8 `[side, side, 3]`.
        augmented_images: likewise, of epochs 1, 2 … 9.
        title: what it shows, a file's name for example.
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
