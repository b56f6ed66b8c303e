"""Whether experiment trackers are installed is known before a training, without importing any."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.cli.common import train_process
from ftlab.config import trackers, train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from tests.support import fabricated_runs

MISSING = "--trackers names mlflow, which is not installed here. Run `pip install mlflow`, or leave it out."


@pytest.fixture
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "mlflow" else find_spec(name))


def test_none_is_the_default_and_several_are_named_in_one_word() -> None:
    assert TrainConfig().trackers == ""
    config = TrainConfig(trackers="trackio, tensorboard")
    assert train_config.config_from_json(config.to_json()) == config
    assert train_config.config_to_argv(TrainConfig(trackers="trackio,wandb"))[-2:] == ["--trackers", "trackio,wandb"]


def test_an_unknown_tracker_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(trackers="trackio,comet")
    assert str(caught.value) == (
        '--trackers cannot be "comet". Choose one of: tensorboard, trackio, wandb, mlflow.'
    )  # fmt: skip


@pytest.mark.usefixtures("without_mlflow")
def test_a_tracker_that_is_not_installed_is_one_line_with_the_command() -> None:
    with pytest.raises(ConfigError) as caught:
        trackers.check_trackers_installed("tensorboard,mlflow")
    assert str(caught.value) == MISSING
    trackers.check_trackers_installed("")
    trackers.check_trackers_installed("tensorboard,trackio")


def test_a_folder_that_offline_runs_leave_behind_is_no_package(tmp_path: Path) -> None:
    """Python finds `wandb/` in the working directory as a namespace package."""
    (tmp_path / "wandb").mkdir()
    code = (
        "import sys; sys.path = [path for path in sys.path if 'site-packages' not in path]; sys.path.insert(0, '')\n"
        "from ftlab.config import trackers\n"
        "assert trackers.find_spec('wandb') is not None\n"
        "trackers.check_trackers_installed('wandb')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "names wandb, which is not installed here" in done.stderr


@pytest.mark.usefixtures("without_mlflow")
def test_a_new_run_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        train_process.prepare_config(TrainConfig(sample="shapes", trackers="mlflow"), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_mlflow")
def test_a_resumed_run_is_refused_too_and_can_still_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = [*fabricated_runs.story(epochs=1), fabricated_runs.ended("stopped")]
    run = fabricated_runs.make(tmp_path / "runs", story, trackers="mlflow")
    assert main.main(["resume", run.name, "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.strip().endswith(MISSING)
    assert run.load_config().trackers == "mlflow"
