"""Figures of an evaluation for files: confusion matrix, class metrics, reliability. No gradio, no pyplot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ftlab.evaluation import calibration, metrics
from ftlab.reporting import fonts
from ftlab.reporting.fonts import format_message

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ftlab.evaluation.evaluate import Evaluation

MAX_PLOTTED_CLASSES = 100
"""Classes that a figure has space for; of more, those with the most errors are drawn."""
_MAX_NUMBERED_CLASSES = 25
"""Classes up to which the cells of the confusion matrix are large enough for their numbers."""
_CORRECT_COLOR, _WRONG_COLOR, _NEUTRAL_COLOR = "#1f8681", "#d9630c", "#667085"
"""Colours of the web page, so that a figure next to it looks alike."""

PlotLabelFormatter = Callable[[str], str]
"""Maps a class name to its label in a figure, see `fonts.make_class_formatter`."""


def plot_confusion_matrix(evaluation: Evaluation, format_class: PlotLabelFormatter = fonts.format_line) -> Figure:
    """Plot the confusion matrix (5 to 14 inches square): true by predicted class, coloured by the fraction of the row.

    Args:
        evaluation: the evaluation.
        format_class: maps a class name to its label.

    Returns:
        The figure.
    """
    all_counts = metrics.confusion_matrix(evaluation.result)
    shown_classes = metrics.most_confused_classes(all_counts, MAX_PLOTTED_CLASSES)
    counts = all_counts[np.ix_(shown_classes, shown_classes)]
    # Of the whole row, also where columns are left out.
    row_fractions = counts / np.maximum(all_counts.sum(1)[shown_classes], 1)[:, None]
    # In inches: 0.3 for each class, and a margin for the names.
    side = float(np.clip(3.4 + 0.3 * len(shown_classes), 5, 14))
    figure = fonts.create_figure(side, side)
    ax = figure.subplots()
    image = ax.imshow(row_fractions, cmap="Blues", vmin=0, vmax=1)
    labels = [format_class(evaluation.result.class_names[class_index]) for class_index in shown_classes]
    font_size = 9 if len(shown_classes) <= _MAX_NUMBERED_CLASSES else 5
    ax.set_xticks(range(len(shown_classes)), labels, rotation=90, fontsize=font_size)
    ax.set_yticks(range(len(shown_classes)), labels, fontsize=font_size)
    ax.set_xlabel(format_message("inspect.figure.predicted"))
    ax.set_ylabel(format_message("inspect.figure.true"))
    if len(shown_classes) <= _MAX_NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            # The upper half of the colour map Blues is too dark for black numbers.
            color = "white" if row_fractions[row, column] > 0.55 else "black"
            ax.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color, fontsize=9)
    colorbar = figure.colorbar(image, shrink=0.6)
    colorbar.set_label(format_message("inspect.figure.share"))
    return figure


def plot_class_metrics(evaluation: Evaluation, format_class: PlotLabelFormatter = fonts.format_line) -> Figure:
    """Plot precision and recall of each class as bars (8 inches wide), the class with the lowest F1 on top.

    Args:
        evaluation: the evaluation.
        format_class: maps a class name to its label.

    Returns:
        The figure.
    """
    counts = metrics.confusion_matrix(evaluation.result)
    shown_classes = metrics.most_confused_classes(counts, MAX_PLOTTED_CLASSES)
    class_metrics = metrics.compute_class_metrics(counts)
    # F1 is at most 1: a class without one comes last.
    shown_classes.sort(key=lambda class_index: 2.0 if (f1 := class_metrics[class_index].f1) is None else f1)
    height = float(np.clip(1.3 + 0.36 * len(shown_classes), 3, 28))
    figure = fonts.create_figure(8, height)
    ax = figure.subplots()
    positions = np.arange(len(shown_classes))
    for offset, metric, color in ((-0.19, "precision", _NEUTRAL_COLOR), (0.19, "recall", _CORRECT_COLOR)):
        values = [100 * (getattr(class_metrics[class_index], metric) or 0.0) for class_index in shown_classes]
        ax.barh(positions + offset, values, height=0.36, color=color, label=format_message(f"inspect.column.{metric}"))
    ax.set_yticks(
        positions,
        [format_class(evaluation.result.class_names[class_index]) for class_index in shown_classes],
        fontsize=9,
    )
    # Upside down: `barh` counts from the bottom, and the worst class is on top.
    ax.set_ylim(len(shown_classes) - 0.4, -0.6)
    ax.set_xlim(0, 100)
    ax.set_xlabel("%")
    ax.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside upper right", ncols=2, fontsize=9)
    return figure


def plot_reliability(evaluation: Evaluation) -> Figure:
    """Return reliability diagrams (4.4 inches each): as trained and, where it is not 1, at the temperature."""
    temperatures = [1.0] if evaluation.temperature == 1 else [1.0, evaluation.temperature]
    figure = fonts.create_figure(4.4 * len(temperatures) + 0.3, 4.6)
    for ax, temperature in zip(figure.subplots(1, len(temperatures), squeeze=False)[0], temperatures, strict=True):
        reliability = calibration.compute_reliability(evaluation.result, temperature)
        bin_centers = (np.arange(calibration.BIN_COUNT) + 0.5) / calibration.BIN_COUNT
        ax.bar(bin_centers, reliability.accuracy, width=0.9 / calibration.BIN_COUNT, color=_CORRECT_COLOR, alpha=0.75)
        # A dot on the diagonal where each bin's mean confidence lies; an empty bin has none.
        is_nonempty = reliability.counts > 0
        ax.plot(
            reliability.confidence[is_nonempty],
            reliability.confidence[is_nonempty],
            "o",
            color=_WRONG_COLOR,
            markersize=3,
        )
        ax.plot([0, 1], [0, 1], "--", color=_NEUTRAL_COLOR, linewidth=1)
        key = "inspect.reliability.before" if temperature == 1 else "inspect.reliability.after"
        title = format_message(key, temperature=f"{temperature:.2f}")
        ax.set_title(f"{title} {100 * reliability.calibration_error:.1f} %", fontsize=10)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_aspect("equal")
        ax.set_xlabel(format_message("inspect.reliability.axis"))
        ax.set_ylabel(format_message("inspect.reliability.accuracy"))
    return figure
