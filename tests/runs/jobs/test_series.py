"""Trainings in turn: the same in every mode, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.cli.parsing import config_flags
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import series
from tests.support import staged_jobs

DONE = """
import os
from ftlab.runs.events import Ended
from ftlab.runs.directory import Run
from ftlab.runs.queue import start_gate
assert start_gate.pass_gate()
run = Run(os.environ["FTLAB_RUN"])
run.liveness.claim_ownership()
run.append_event(Ended(reason="finished", epoch=1, step=1, best_epoch=1, best_val_accuracy=0.5, seconds=1.0))
run.liveness.release_ownership()
"""
BASE = TrainConfig(sample="shapes", seed=7, epochs=2)


def test_only_the_mode_differs_and_what_was_left_open_is_chosen_for_each() -> None:
    made = series.expand_modes(BASE)
    assert [one.mode for one in made] == ["full", "frozen", "scratch"]
    assert {(one.sample, one.seed, one.epochs, one.learning_rate) for one in made} == {("shapes", 7, 2, None)}


def test_the_command_is_one_that_the_command_line_takes(tmp_path: Path) -> None:
    base = TrainConfig(sample="shapes", mode="full", seed=7, epochs=2, mixup=0.2)
    options = main.build_parser().parse_args(series.build_series_command(base, tmp_path)[3:])
    assert config_flags.build_config(options) == replace(
        base, mode="frozen"
    )  # its default: the command takes every mode
    assert options.runs == str(tmp_path)


def test_what_makes_no_sense_in_one_mode_is_refused_before_anything_begins(tmp_path: Path) -> None:
    base = TrainConfig(sample="shapes", mode="full", layer_decay=0.7)
    with pytest.raises(ConfigError):
        series.start_series(base, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_one_begins_when_the_one_before_has_finished(stage: staged_jobs.Stage, tmp_path: Path) -> None:
    stage.code = DONE
    begun: list[tuple[int, str]] = []

    def told(number: int, run: Run) -> None:
        begun.append((number, run.name))
        others = [Run(tmp_path / name) for name in run_store.list_run_names(tmp_path) if name != run.name]
        assert [one.liveness.get_status() for one in others] == ["finished"] * number
        found = series.find_active_series(tmp_path)
        assert found is not None
        assert found.runs == tuple(name for _, name in begun)

    made = series.run_series(series.expand_modes(BASE), tmp_path, told)
    assert [number for number, _ in begun] == [0, 1, 2]
    assert [run.load_config().mode for run in made] == ["full", "frozen", "scratch"]
    assert [run.liveness.get_status() for run in made] == ["finished"] * 3


@pytest.mark.usefixtures("stage")
def test_whoever_stops_one_stops_the_series(tmp_path: Path) -> None:
    begun: list[Run] = []

    def told(_number: int, run: Run) -> None:
        begun.append(run)
        threading.Timer(0.5, run.liveness.request_stop).start()

    made = series.run_series(series.expand_modes(BASE), tmp_path, told)
    assert [run.liveness.get_status() for run in made] == ["stopped"]
    assert len(begun) == len(run_store.list_run_names(tmp_path)) == 1


def test_it_waits_for_a_training_of_somebody_else(stage: staged_jobs.Stage, tmp_path: Path) -> None:
    other = stage.start(tmp_path)
    staged_jobs.until(other.last_checkpoint_path.parent.exists)
    threading.Timer(0.5, other.liveness.request_stop).start()
    stage_done = threading.Event()

    def told(number: int, run: Run) -> None:
        if number == 0:
            assert not other.liveness.is_active()
            stage_done.set()
        run.liveness.request_stop()

    series.run_series(series.expand_modes(BASE), tmp_path, told)
    assert stage_done.is_set()


def test_a_process_of_its_own_does_it_and_a_second_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: staged_jobs.Stage
) -> None:
    """What runs in the place of `python -m ftlab series` waits to be ended."""
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    stage.code = "import time; time.sleep(60)"
    file = series.start_series(BASE, tmp_path)
    assert stage.words[1:4] == ["-m", "ftlab", "series"]
    found = series.find_active_series(tmp_path)
    assert found is not None
    assert (found.runs, found.modes) == ((), series.SERIES_MODES)
    with pytest.raises(RunError) as caught:
        series.start_series(BASE, tmp_path)
    assert caught.value.code == "run.series_busy"
    stage.clear()
    assert series.find_active_series(tmp_path) is None
    assert file.exists()


def test_twelve_that_are_asked_for_at_once_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: staged_jobs.Stage
) -> None:
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    stage.code = "import time; time.sleep(60)"

    def ask(_number: int) -> str:
        try:
            return series.start_series(BASE, tmp_path / "runs").stem
        except RunError as refusal:
            return refusal.code

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert answers.count("run.series_busy") == 11
    assert len(stage.processes) == len(list((tmp_path / "runs").glob("series-*.json"))) == 1
    with pytest.raises(RunError):  # also one that a person starts in a terminal
        series.run_series(series.expand_modes(BASE), tmp_path / "runs", lambda _number, _run: None)


def test_the_next_one_can_begin_in_the_same_process(stage: staged_jobs.Stage, tmp_path: Path) -> None:
    stage.code = DONE
    for number in (1, 2):
        series.run_series(series.expand_modes(BASE)[:1], tmp_path, lambda _number, _run: None)
        assert series.find_active_series(tmp_path) is None
        assert len(run_store.list_run_names(tmp_path)) == number


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('ftlab: There is no folder <x>.'); raise SystemExit(2)", "There is no folder <x>."),
        ("raise OSError(28, 'No space left on device')", "The disk with the runs is full"),
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("raise SystemExit('nothing of ours')", "nothing of ours"),
        ("import os; os._exit(1)", "the cause is unknown"),
    ],
)
def test_why_it_died_before_its_first_training_is_told_until_another_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: staged_jobs.Stage, code: str, why: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    assert series.explain_failed_start(tmp_path) == ""
    stage.code = code
    series.start_series(BASE, tmp_path)
    stage.processes[-1].wait()
    staged_jobs.until(lambda: series.find_active_series(tmp_path) is None)
    assert why in series.explain_failed_start(tmp_path)
    run_store.create_run(tmp_path, BASE)
    assert series.explain_failed_start(tmp_path) == ""


def test_one_at_work_and_one_that_has_begun_a_training_are_not_stillborn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: staged_jobs.Stage
) -> None:
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    stage.code = "import time; time.sleep(60)"
    file = series.start_series(BASE, tmp_path)
    assert series.explain_failed_start(tmp_path) == ""
    stage.clear()
    assert series.explain_failed_start(tmp_path) != ""
    file.write_text(file.read_text(encoding="utf-8").replace('"runs": []', '"runs": ["one"]'), encoding="utf-8")
    assert series.explain_failed_start(tmp_path) == ""


def test_it_writes_into_the_file_that_was_made_for_it(
    stage: staged_jobs.Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.code = DONE
    file = tmp_path / "series-20260101-000000-0123abcd.json"
    monkeypatch.setenv(series.SERIES_FILE_ENV, str(file))
    series.run_series(series.expand_modes(BASE)[:1], tmp_path, lambda _number, _run: None)
    assert [one.name for one in tmp_path.glob("series-*.json")] == [file.name]
    assert series.SERIES_FILE_ENV not in os.environ


@pytest.mark.parametrize("content", ["", "[]", '{"runs": 3}', '{"runs": [], "modes": [], "pid": "x", "created": 0}'])
def test_a_damaged_file_hides_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "series-20990101-000000-00000000.json").write_text(content, encoding="utf-8")
    assert series.find_active_series(tmp_path) is None
