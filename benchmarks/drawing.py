"""How cost grows, as a figure: time and memory against pictures, for one process and several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.growth import Looks, Trainings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCAN, _FEATURES, _TRAINING = "#E69F00", "#009E73", "#0072B2"
"""Of the palette of Okabe and Ito, that people who see colours differently can tell apart."""
_STYLES = ({"linestyle": "-", "marker": "o"}, {"linestyle": "--", "marker": "s"}, {"linestyle": ":", "marker": "^"})
"""By number of processes: first, second, third."""


def draw(looks: Looks, trainings: Trainings, to: Path, machine: str = "") -> None:
    """Two panels on logarithmic axes, written to a file of the kind that its name ends in.

    Args:
        machine: the line that tells on what it was measured; stands at the top.
    """
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    counts, one = sorted(looks), _STYLES[0]
    time.plot(counts, [looks[count].checked for count in counts], color=_SCAN, label="every file tried", **one)
    memory.plot(counts, [looks[count].megabytes for count in counts], color=_SCAN, **one)
    for (number, found), style in zip(trainings.items(), _STYLES, strict=False):
        who = f"{number} process{'es' if number > 1 else ''}"
        time.plot(counts, [found[c].features for c in counts], color=_FEATURES, label=f"features, {who}", **style)
        time.plot(counts, [found[c].seconds for c in counts], color=_TRAINING, label=f"whole training, {who}", **style)
        memory.plot(counts, [found[c].megabytes for c in counts], color=_TRAINING, **style)
    _panel(time, "Time", "seconds", counts)
    _panel(memory, "Most memory held, processes together", "MB", counts)
    figure.suptitle(machine, fontsize=8.5, color="#555555")
    figure.legend(loc="outside lower center", ncols=3, fontsize=10, frameon=False)
    # Names in the file that do not change from one drawing to the next, so that only what was measured does.
    with rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(to, dpi=160, metadata={"Date": None} if to.suffix == ".svg" else None)


def _panel(axes: Axes, title: str, unit: str, counts: Sequence[int]) -> None:
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
