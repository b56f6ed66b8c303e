"""One training in this process: what is told is on the disk first, and there is always a last word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.cli.common import train_process
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError, RunError
from ftlab.data.sources.locate import DatasetLocation, locate_dataset
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event
from ftlab.training import loop as training_loop
from tests.support import fabricated_runs


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return run_store.create_run(tmp_path / "runs", TrainConfig(data=str(tiny_folder)))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Run], Iterator[Event]]], None]:
    """Puts another loop in the place of the engine's."""

    def instead(loop: Callable[[Run], Iterator[Event]]) -> None:
        monkeypatch.setattr(training_loop, "train", lambda _settings, run, **_: loop(run))

    return instead


def follow(run: Run) -> Ended | None:
    return train_process.run_training(run, run.load_config())


def test_each_event_is_on_the_disk_before_it_is_told(
    run: Run, training: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[int] = []

    def loop(run: Run) -> Iterator[Event]:
        for number, event in enumerate([*fabricated_runs.story(), fabricated_runs.ended()]):
            assert run.load_history().event_count == number
            assert run.liveness.is_process_alive()
            yield event
            written.append(run.load_history().event_count)

    training(loop)
    assert follow(run) == fabricated_runs.ended()
    assert written == list(range(1, len(written) + 1))
    assert run.liveness.get_status() == "finished"
    assert not (run.path / "pid").exists()
    assert "Finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("data.missing", folder="x"), "There is no folder x."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_is_the_last_word(run: Run, training: Any, error: Exception, message: str) -> None:
    def loop(_run: Run) -> Iterator[Event]:
        yield from fabricated_runs.story()[:-3]
        raise error

    training(loop)
    with pytest.raises(type(error)):
        follow(run)
    ended = run.liveness.read_end_event()
    assert ended is not None
    assert (ended.reason, ended.best_epoch, ended.best_val_accuracy) == ("failed", 2, 0.9375)
    assert str(ended.message).startswith(message)
    assert run.liveness.get_status() == "failed"


@pytest.mark.skipif(os.name == "nt", reason="there, a signal to oneself ends the process")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_a_wish_to_stop(run: Run, training: Any, which: signal.Signals) -> None:
    before = signal.getsignal(which)

    def loop(run: Run) -> Iterator[Event]:
        yield fabricated_runs.started()
        os.kill(os.getpid(), which)
        assert run.liveness.is_stop_requested()
        yield fabricated_runs.ended("stopped")

    training(loop)
    assert follow(run) == fabricated_runs.ended("stopped")
    assert signal.getsignal(which) is before


@pytest.mark.usefixtures("training")
def test_a_run_that_another_process_trains_is_left_alone(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run.liveness.set_owner(other.pid)
        with pytest.raises(RunError) as caught:
            follow(run)
        assert run.liveness.is_process_alive()
        other.communicate(b"\n")
    assert caught.value.code == "run.busy"
    assert run.load_history().event_count == 0


def test_others_than_the_first_process_write_nothing(
    run: Run, training: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    training(lambda _run: iter([*fabricated_runs.story(), fabricated_runs.ended()]))
    assert follow(run) == fabricated_runs.ended()
    assert run.load_history().event_count == 0
    assert capsys.readouterr().err == ""


# Whose run it is


def test_no_run_is_made_for_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert main.main(["train", "--data", str(tmp_path / "none"), "--runs", str(tmp_path / "runs")]) == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("one_thread")
def test_the_data_is_located_once(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def locate(source: Path | str, *options: Any) -> DatasetLocation:
        calls.append(source)
        return locate_dataset(source, *options)

    for module in ("scan", "from_config"):
        monkeypatch.setattr(f"ftlab.data.dataset.{module}.locate_dataset", locate)
    said = ["train", "--data", str(tiny_folder), "--epochs", "1", "--threads", "1", "--runs", str(tmp_path / "runs")]
    assert main.main(said) == 0
    assert calls == [str(tiny_folder)]
