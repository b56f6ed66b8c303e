"""Figures of an evaluation for files: confusions, classes, reliability. No gradio, and no pyplot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ftlab.evaluation import calibration, metrics
from ftlab.reporting import fonts
from ftlab.reporting.fonts import text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ftlab.evaluation.evaluate import Inspection

LISTED = 100
"""Classes that a figure has room for; of more, those with the most mistakes are drawn."""
_NUMBERS = 25
_HIT, _MISS, _QUIET = "#1f8681", "#d9630c", "#667085"

Say = Callable[[str], str]
"""What a figure calls a class, see `lettering.namer`."""


def confusion_figure(found: Inspection, say: Say = fonts.line) -> Figure:
    """The confusion matrix (5 to 14 inches square): a row a true class, colour by the share of the row."""
    known = metrics.confusion(found.outcome)
    shown = metrics.confused(known, LISTED)
    counts = known[np.ix_(shown, shown)]
    shares = counts / np.maximum(known.sum(1)[shown], 1)[:, None]
    side = float(np.clip(3.4 + 0.3 * len(shown), 5, 14))
    figure = fonts.figure(side, side)
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [say(found.outcome.classes[one]) for one in shown]
    size = 9 if len(shown) <= _NUMBERS else 5
    axis.set_xticks(range(len(shown)), names, rotation=90, fontsize=size)
    axis.set_yticks(range(len(shown)), names, fontsize=size)
    axis.set_xlabel(text("inspect.figure.predicted"))
    axis.set_ylabel(text("inspect.figure.true"))
    if len(shown) <= _NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axis.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=9)
    bar = figure.colorbar(picture, shrink=0.6)
    bar.set_label(text("inspect.figure.share"))
    return figure


def classes_figure(found: Inspection, say: Say = fonts.line) -> Figure:
    """Precision and recall of each class as bars (8 inches wide), the class with the lowest F1 on top."""
    known = metrics.confusion(found.outcome)
    shown = metrics.confused(known, LISTED)
    figures = metrics.classes(known)
    shown.sort(key=lambda one: 2.0 if (f1 := figures[one].f1) is None else f1)
    height = float(np.clip(1.3 + 0.36 * len(shown), 3, 28))
    figure = fonts.figure(8, height)
    axis = figure.subplots()
    places = np.arange(len(shown))
    for offset, what, colour in ((-0.19, "precision", _QUIET), (0.19, "recall", _HIT)):
        values = [100 * (getattr(figures[one], what) or 0.0) for one in shown]
        axis.barh(places + offset, values, height=0.36, color=colour, label=text(f"inspect.column.{what}"))
    axis.set_yticks(places, [say(found.outcome.classes[one]) for one in shown], fontsize=9)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlim(0, 100)
    axis.set_xlabel("%")
    axis.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside upper right", ncols=2, fontsize=9)
    return figure


def reliability_figure(found: Inspection) -> Figure:
    """Reliability diagrams (4.4 inches each): as trained, and with the temperature where there is one."""
    scales = [1.0] if found.temperature == 1 else [1.0, found.temperature]
    figure = fonts.figure(4.4 * len(scales) + 0.3, 4.6)
    for axis, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        made = calibration.reliability(found.outcome, scale)
        edges = (np.arange(calibration.BINS) + 0.5) / calibration.BINS
        axis.bar(edges, made.accuracy, width=0.9 / calibration.BINS, color=_HIT, alpha=0.75)
        some = made.count > 0
        axis.plot(made.confidence[some], made.confidence[some], "o", color=_MISS, markersize=3)
        axis.plot([0, 1], [0, 1], "--", color=_QUIET, linewidth=1)
        key = "inspect.reliability.before" if scale == 1 else "inspect.reliability.after"
        title = text(key, temperature=f"{scale:.2f}")
        axis.set_title(f"{title} {100 * made.error:.1f} %", fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
        axis.set_xlabel(text("inspect.reliability.axis"))
        axis.set_ylabel(text("inspect.reliability.accuracy"))
    return figure
