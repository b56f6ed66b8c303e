"""How cost grows, as a figure: time and memory against pictures, for one process and several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.growth import ScanCosts, TrainingCosts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCAN_COLOR, _FEATURES_COLOR, _TRAINING_COLOR = "#E69F00", "#009E73", "#0072B2"
"""Of the palette of Okabe and Ito, that people who see colours differently can tell apart."""
_LINE_STYLES = (
    {"linestyle": "-", "marker": "o"},
    {"linestyle": "--", "marker": "s"},
    {"linestyle": ":", "marker": "^"},
)
"""By number of processes: first, second, third."""


def draw_growth(scans: ScanCosts, trainings: TrainingCosts, output_path: Path, machine_info: str = "") -> None:
    """Two panels on logarithmic axes, written to a file of the kind that its name ends in.

    Args:
        machine_info: the line that tells on what it was measured; stands at the top.
    """
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    counts, scan_style = sorted(scans), _LINE_STYLES[0]
    time_axes.plot(
        counts, [scans[count].checked for count in counts], color=_SCAN_COLOR, label="every file tried", **scan_style
    )
    memory_axes.plot(counts, [scans[count].megabytes for count in counts], color=_SCAN_COLOR, **scan_style)
    for (process_count, costs), style in zip(trainings.items(), _LINE_STYLES, strict=False):
        processes_text = f"{process_count} process{'es' if process_count > 1 else ''}"
        time_axes.plot(
            counts,
            [costs[c].features for c in counts],
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
    # Names in the file that do not change from one drawing to the next, so that only what was measured does.
    with rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(output_path, dpi=160, metadata={"Date": None} if output_path.suffix == ".svg" else None)


def _style_axes(axes: Axes, title: str, unit: str, counts: Sequence[int]) -> None:
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
