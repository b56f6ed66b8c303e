"""Figure of the growth benchmark: time and memory against the number of images, for one process and several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.growth_data import ScanCosts, TrainingCosts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCAN_COLOR, _FEATURES_COLOR, _TRAINING_COLOR = "#E69F00", "#009E73", "#0072B2"
"""From the palette of Okabe and Ito, which people with color vision deficiency can tell apart."""
_LINE_STYLES = (
    {"linestyle": "-", "marker": "o"},
    {"linestyle": "--", "marker": "s"},
    {"linestyle": ":", "marker": "^"},
)
"""By number of processes: first, second, third."""


def draw_growth(scans: ScanCosts, trainings: TrainingCosts, output_path: Path, machine_info: str = "") -> None:
    """Draw two panels on logarithmic axes, time and memory, into a file.

    Args:
        scans: cost of scanning, by number of images.
        trainings: cost of training, by number of processes and images.
        output_path: file to write; its suffix is the format.
        machine_info: line at the top that describes the machine.
    """
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    counts, scan_style = sorted(scans), _LINE_STYLES[0]
    time_axes.plot(
        counts,
        [scans[count].verify_seconds for count in counts],
        color=_SCAN_COLOR,
        label="every file tried",
        **scan_style,
    )
    memory_axes.plot(counts, [scans[count].megabytes for count in counts], color=_SCAN_COLOR, **scan_style)
    # Not strict: there may be fewer numbers of processes than styles.
    for (process_count, costs), style in zip(trainings.items(), _LINE_STYLES, strict=False):
        processes_text = f"{process_count} process{'es' if process_count > 1 else ''}"
        time_axes.plot(
            counts,
            [costs[c].feature_seconds for c in counts],
            color=_FEATURES_COLOR,
            label=f"features, {processes_text}",
            **style,
        )
        time_axes.plot(
            counts,
            [costs[c].seconds for c in counts],
            color=_TRAINING_COLOR,
            label=f"whole training, {processes_text}",
            **style,
        )
        memory_axes.plot(counts, [costs[c].megabytes for c in counts], color=_TRAINING_COLOR, **style)
    _style_axes(time_axes, "Time", "seconds", counts)
    _style_axes(memory_axes, "Most memory held, processes together", "MB", counts)
    figure.suptitle(machine_info, fontsize=8.5, color="#555555")
    figure.legend(loc="outside lower center", ncols=3, fontsize=10, frameon=False)
    # Fixed ids and no date in the SVG, so that the file changes only with the measurements.
    with rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(output_path, dpi=160, metadata={"Date": None} if output_path.suffix == ".svg" else None)


def _style_axes(axes: Axes, title: str, unit: str, counts: Sequence[int]) -> None:
    """Set scales, title, labels and grid of a panel."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=12, loc="left")
    axes.set_xlabel("pictures", fontsize=11)
    axes.set_ylabel(unit, fontsize=11)
    axes.set_xticks(counts)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=10)
    axes.grid(which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
