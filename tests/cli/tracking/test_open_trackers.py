"""TensorBoard and trackio, for real: what their files hold is what the run directory holds."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from accelerate.state import PartialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ftlab.cli.common import train_process
from ftlab.cli.tracking import open_trackers
from ftlab.cli.tracking.tracker_series import EPOCH_SERIES, STEP_SERIES
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Step
from ftlab.runs.jobs import launch
from ftlab.training import loop as training_loop
from tests.support import fabricated_runs

Series = dict[str, list[tuple[int, float | None]]]
"""(step, value) by the name of the series; None where the value is no finite number."""


@pytest.fixture(autouse=True)
def trackio_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trackio writes; it looks the folder up only once in a process, so that it is told here again."""
    import trackio.sqlite_storage

    folder = tmp_path / "trackio"
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    for module in (trackio.sqlite_storage, trackio.utils, trackio):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder)
    PartialState()  # as in each training
    return folder


def read_metrics(run: Run) -> Series:
    """The series by `metrics.jsonl`, in which null stands for NaN and for what is unknown."""
    series: Series = {}
    history = run.load_history()
    rows: list[Step | Epoch] = [*history.steps, *history.epochs]
    for row in rows:
        for field, name in (STEP_SERIES if isinstance(row, Step) else EPOCH_SERIES).items():
            if not (isinstance(row, Epoch) and row.epoch == 0 and field.startswith("train_")):
                series.setdefault(name, []).append((row.step, getattr(row, field)))
    return series


def read_event_files(run: Run) -> Series:
    accumulator = EventAccumulator(str(run.path / open_trackers.TENSORBOARD_FOLDER), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        name: [(point.step, point.value if math.isfinite(point.value) else None) for point in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }


def read_database(folder: Path, run: Run) -> Series:
    series: Series = {}
    with closing(sqlite3.connect(folder / "ftlab.db")) as database:
        rows = database.execute("SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id", (run.name,))
        for step, line in rows:
            for name, value in json.loads(line).items():
                series.setdefault(name, []).append((step, None if value in ("NaN", "Infinity") else value))
    return series


def check_equal(series: Series, expected: Series, digits: float) -> None:
    assert set(series) == set(expected)
    for name, points in series.items():
        assert [step for step, _ in points] == [step for step, _ in expected[name]], name
        for (_, value), (_, wanted) in zip(points, expected[name], strict=True):
            assert value == (None if wanted is None else pytest.approx(wanted, rel=digits)), name


def train(run: Run, monkeypatch: pytest.MonkeyPatch, events: list[Event]) -> None:
    monkeypatch.setattr(training_loop, "train", lambda *_, **__: iter(events))
    assert isinstance([*train_process.record_training(run, run.load_config())][-1], Ended)


@pytest.fixture
def make_run(tmp_path: Path, tiny_folder: Path) -> Callable[[], Run]:
    settings = {"trackers": "tensorboard,trackio", "data": str(tiny_folder), "sample": ""}
    return lambda: fabricated_runs.make(tmp_path / "runs", [], **settings)


def list_warnings(run: Run) -> list[str]:
    notes = [event for event in run.read_events()[0] if isinstance(event, LogMessage)]
    return [f"{note.code} {note.values}" for note in notes if note.level == "warning"]


def test_both_hold_what_the_run_holds_and_a_loss_that_is_nan_is_nan(
    make_run: Callable[[], Run], trackio_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    story = fabricated_runs.story(epochs=1)
    story[5] = fabricated_runs.step(4, loss=math.nan)
    story[6] = fabricated_runs.step(5, loss=math.inf)
    train(run, monkeypatch, [*story, fabricated_runs.ended()])
    assert list_warnings(run) == []
    expected = read_metrics(run)
    assert expected["train/loss"][3:5] == [(4, None), (5, None)]
    check_equal(read_event_files(run), expected, digits=1e-6)  # float32
    check_equal(read_database(trackio_folder, run), expected, digits=0.0)
    with closing(sqlite3.connect(trackio_folder / "ftlab.db")) as database:
        (line,) = database.execute("SELECT metrics FROM metrics WHERE step = 4").fetchone()
        (config,) = database.execute("SELECT config FROM configs WHERE run_name = ?", (run.name,)).fetchone()
        assert database.execute("SELECT count(*) FROM system_metrics").fetchone() == (0,), "only what the run records"
    assert json.loads(line)["train/loss"] == "NaN"
    assert json.loads(config)["data"] == "tiny"
    assert json.loads(config)["_Username"] is None


def test_a_point_of_tensorboard_has_the_time_of_its_event(
    make_run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    train(run, monkeypatch, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()])
    accumulator = EventAccumulator(str(run.path / open_trackers.TENSORBOARD_FOLDER))
    accumulator.Reload()
    times = [point.wall_time for point in accumulator.Scalars("train/loss")]
    assert times == [event.time for event in run.load_history().steps]


def test_a_resumed_run_goes_on_in_both(
    make_run: Callable[[], Run], trackio_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, story = make_run(), fabricated_runs.story(epochs=2)
    train(run, monkeypatch, [*story[:9], fabricated_runs.ended("stopped")])
    train(run, monkeypatch, [fabricated_runs.started(3), *story[5:], fabricated_runs.ended()])
    assert list_warnings(run) == []
    check_equal(read_event_files(run), read_metrics(run), digits=1e-6)
    check_equal(read_database(trackio_folder, run), read_metrics(run), digits=0.0)
    with closing(sqlite3.connect(trackio_folder / "ftlab.db")) as database:
        assert database.execute("SELECT count(DISTINCT run_id) FROM metrics").fetchone() == (1,)


def test_two_runs_share_trackios_database(
    make_run: Callable[[], Run], trackio_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run() for _ in range(2)]
    for run in runs:
        train(run, monkeypatch, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()])
    for run in runs:
        check_equal(read_database(trackio_folder, run), read_metrics(run), digits=0.0)


def test_what_trackio_only_warns_of_is_a_warning_of_the_run(
    make_run: Callable[[], Run], trackio_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SQLiteStorage, "bulk_log", fail)
    run = make_run()
    train(run, monkeypatch, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()])
    (warning,) = list_warnings(run)
    assert warning.startswith("tracker_failed")
    assert "trackio" in warning
    assert len(read_event_files(run)["train/loss"]) == 10, "the other one has everything"
    assert trackio_folder


def test_a_real_training_writes_below_ftlabs_folder_and_asks_nobody(tiny_folder: Path, tmp_path: Path) -> None:
    """Also where a person is signed in at Hugging Face, whom trackio asks by itself who that is."""
    home, runs = tmp_path / "home", tmp_path / "runs"
    environment = launch.build_environment(FTLAB_HOME=str(home), HF_TOKEN="hf_" + "x" * 34, HF_HUB_OFFLINE="0")
    del environment["TRACKIO_DIR"]
    command = [
        "train",
        "--data",
        str(tiny_folder),
        "--epochs",
        "1",
        "--threads",
        "1",
        "--trackers",
        "tensorboard,trackio",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "ftlab", *command, "--runs", str(runs), "--json"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["reason"] == "finished"
    run = Run(next(path for path in runs.iterdir() if (path / "config.json").is_file()))
    assert list_warnings(run) == []
    check_equal(read_event_files(run), read_metrics(run), digits=1e-6)
    check_equal(read_database(home / "trackio", run), read_metrics(run), digits=0.0)
    assert not (Path(os.environ["HF_HOME"]) / "trackio").exists()
