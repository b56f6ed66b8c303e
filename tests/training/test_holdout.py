"""A run whose test pictures validate says so wherever its figures stand."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli.terminal import progress
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.reporting import plots
from ftlab.runs import run_store
from ftlab.runs.curves import build_curves
from ftlab.runs.events import Event, LogMessage, Started
from ftlab.training.loop import train
from ftlab.ui.common import curves_view, run_status_view
from tests.support import fabricated_runs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def events() -> list[Event]:
    """The story of a run that was validated on test."""
    first, *others = fabricated_runs.story()
    assert isinstance(first, Started)
    return [dataclasses.replace(first, validation="test"), *others]


def test_the_training_tells_it_and_learns_from_all_of_train(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)
    monkeypatch.setitem(backbones.BACKBONES, spec.name, spec)
    for name in ("train", "test"):
        shutil.copytree(tiny_folder, tmp_path / "both" / name)
    settings: dict[str, Any] = {
        "data": str(tmp_path / "both"),
        "backbone": spec.name,
        "epochs": 1,
        "torch_num_threads": 1,
    }
    run = run_store.create_run(tmp_path / "runs", TrainConfig(holdout="test_as_val", **settings))
    told = list(train(run.load_config(), run, pretrained=False))
    (started,) = (event for event in told if isinstance(event, Started))
    assert (started.validation, started.train_images, started.val_images) == ("test", 24, 24)
    assert {"count": 24} in [
        event.values for event in told if isinstance(event, LogMessage) and event.code == "test_as_val"
    ]
    assert set(run.read_json("split.json")["splits"]["test"]["amber"]) == set()


def test_the_page_the_console_and_the_figures_name_it(tmp_path: Path, events: list[Event]) -> None:
    history = fabricated_runs.make(tmp_path, events).load_history()
    assert "Best, validated on test" in run_status_view.render_state(history, "finished")
    assert "test (used to validate)" in curves_view.render_legend(build_curves(history))
    assert "validated on test (80)" in str(progress.format_event(events[0]))
    axis = plots.plot_training_curves(history).axes[0]
    assert "test (used to validate)" in axis.get_legend_handles_labels()[1]


def test_others_do_not(tmp_path: Path) -> None:
    history = fabricated_runs.make(tmp_path, fabricated_runs.story()).load_history()
    assert "validated on test" not in run_status_view.render_state(history, "finished")
    assert "test (used to validate)" not in curves_view.render_legend(build_curves(history))
