"""Figures for files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle
from PIL import Image

from ftlab.reporting.plots import plot_explanation, plot_training_curves
from ftlab.runs.events import LogMessage
from ftlab.runs.history import History
from tests.support import fabricated_runs


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_the_figure_of_the_curves_shows_the_values_measured(tmp_path: Path) -> None:
    history = History()
    history.add_events([*fabricated_runs.story(), fabricated_runs.ended()])
    figure = plot_training_curves(history)
    loss, accuracy, _ = figure.axes
    held = next(line for line in accuracy.lines if line.get_label() == "validation")
    assert np.allclose(held.get_xydata(), [(0, 12.5), (1, 75), (2, 93.75), (3, 87.5), (4, 87.5)])
    assert loss.get_ylabel() == "Loss"
    assert "best: epoch 2, 93.8 %" in [line.get_label() for line in accuracy.lines]
    figure.savefig(tmp_path / "curves.png")
    assert size(tmp_path / "curves.png") == (900, 700)


def test_a_figure_has_a_line_where_each_later_phase_starts() -> None:
    history = History()
    notes = [LogMessage(code=code, values={"step": step}) for code, step in (("fine_tuning", 20), ("all_layers", 30))]
    history.add_events([*fabricated_runs.story(), *notes])
    for axis in plot_training_curves(history).axes:
        lines = {line.get_label(): line for line in axis.lines}
        assert np.array_equal(lines["fine-tuning starts"].get_xdata(), [2, 2])
        assert np.array_equal(lines["all layers are trained"].get_xdata(), [3, 3])
        assert lines["fine-tuning starts"].get_linestyle() != lines["all layers are trained"].get_linestyle()


def test_a_run_without_a_step_gives_a_figure_too(tmp_path: Path) -> None:
    plot_training_curves(History()).savefig(tmp_path / "curves.png")


def test_an_explanation_shows_picture_heat_overlay_and_scores(tmp_path: Path) -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[:, :, 2] = 200
    heat = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
    scores = [("ants", 0.75), ("price $5 and $6_2", 0.25)]
    figure = plot_explanation(picture, picture, heat, scores)
    shown = [axis.get_title() for axis in figure.axes]
    assert shown == ["Picture", "Evidence", "Overlay", ""]
    assert np.array_equal(np.asarray(figure.axes[0].images[0].get_array()), picture)
    assert figure.axes[1].images[0].get_clim() == (0.0, 1.0)
    assert [bar.get_width() for bar in figure.axes[3].patches if isinstance(bar, Rectangle)] == [25, 75]
    figure.savefig(tmp_path / "explained.png")
    assert size(tmp_path / "explained.png") == (1200, 360)


def test_no_window_system_is_touched() -> None:
    code = (
        "import sys; from ftlab.reporting.plots import plot_training_curves; from ftlab.runs.history import History;"
        "plot_training_curves(History()); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
