"""A training is a process of its own, started with the command that the page shows. Here it is a few lines long."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftlab import runs
from ftlab.config import TrainConfig
from ftlab.errors import RunError
from ftlab.events import Saved
from ftlab.jobs import worker

OBEDIENT = """
import os, time
from ftlab.events import Ended, Saved
from ftlab.runs import Run
run = Run(os.environ["FTLAB_RUN"])
run.claim()
print("at work in", run.name)
run.append(Saved(what="last", epoch=0, step=0))
deadline = time.monotonic() + 60
while not run.stop_asked() and time.monotonic() < deadline:
    time.sleep(0.01)
run.append(Ended(reason="stopped", epoch=0, step=0, best_epoch=None, best_val_accuracy=None, seconds=0.0))
run.release()
"""
FAILING = "raise SystemExit('no room left on the disk')"


class Stage:
    """Where `worker` starts its processes during a test: the words it said, and what is run in their place."""

    def __init__(self) -> None:
        self.code = OBEDIENT
        self.words: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()
    real = subprocess.Popen

    def popen(words: list[str], **options: object) -> subprocess.Popen[bytes]:
        stage.words = words
        process: subprocess.Popen[bytes] = real([sys.executable, "-c", stage.code], **options)  # type: ignore[call-overload]
        stage.processes.append(process)
        return process

    monkeypatch.setattr(worker.subprocess, "Popen", popen)
    yield stage
    for process in stage.processes:
        process.kill()
        process.wait()
    worker.reap()


def until(true: Callable[[], object]) -> None:
    """Wait for something that comes soon, or fail."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settings() -> TrainConfig:
    return TrainConfig(data="my pictures", epochs=3, learning_rate=0.01)


def test_the_command_is_what_a_person_would_type() -> None:
    words = worker.command(settings(), "my runs")
    assert words[:4] == ["python", "-m", "ftlab", "train"]
    assert words[-2:] == ["--runs", "my runs"]
    if os.name == "posix":
        assert shlex.split(worker.shown(words)) == words
        assert "--data 'my pictures'" in worker.shown(words)


def test_it_starts_the_command_that_is_shown(tmp_path: Path, stage: Stage) -> None:
    run = worker.start(settings(), tmp_path / "runs")
    assert stage.words == [sys.executable, *worker.command(settings(), tmp_path / "runs")[1:]]
    assert run.config() == settings()


def test_it_runs_is_asked_to_stop_and_has_stopped(tmp_path: Path, stage: Stage) -> None:
    run = worker.start(settings(), tmp_path / "runs")
    assert run.status() == "running"
    until(lambda: run.tail()[0])
    assert isinstance(run.tail()[0][0], Saved)
    assert run.status() == "running"
    run.ask_stop()
    until(lambda: not run.alive())
    assert run.status() == "stopped"
    assert run.log.read_text() == f"at work in {run.name}\n"


@pytest.mark.skipif(os.name == "nt", reason="sessions are a thing of POSIX")
def test_what_ends_the_server_does_not_reach_it(tmp_path: Path, stage: Stage) -> None:
    worker.start(settings(), tmp_path / "runs")
    pid = stage.processes[0].pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_another_object_in_another_place_sees_the_same(tmp_path: Path, stage: Stage) -> None:
    run = worker.start(settings(), tmp_path / "runs")
    seen = runs.find(tmp_path / "runs", "latest")
    assert (seen.name, seen.status()) == (run.name, "running")
    seen.ask_stop()
    until(lambda: run.status() == "stopped")


def test_a_run_that_stopped_is_resumed_in_its_own_folder(tmp_path: Path, stage: Stage) -> None:
    run = worker.start(settings(), tmp_path / "runs")
    with pytest.raises(RunError) as caught:
        worker.resume(run)
    assert caught.value.code == "run.busy"
    until(lambda: run.tail()[0])
    run.ask_stop()
    until(lambda: run.status() == "stopped")

    worker.resume(run)
    assert stage.words[1:] == ["-m", "ftlab", "resume", run.name, "--runs", str(tmp_path / "runs")]
    assert not run.stop_asked()
    assert run.status() == "running"
    until(lambda: len(run.tail()[0]) == 3)
    assert runs.names(tmp_path / "runs") == [run.name]


def test_a_finished_run_is_not_resumed(tmp_path: Path, stage: Stage) -> None:
    stage.code = OBEDIENT.replace('"stopped"', '"finished"')
    run = worker.start(settings(), tmp_path / "runs")
    run.ask_stop()
    until(lambda: run.status() == "finished")
    with pytest.raises(RunError) as caught:
        worker.resume(run)
    assert caught.value.code == "run.finished"


def test_a_process_that_dies_without_a_word_leaves_its_last_ones_in_the_log(tmp_path: Path, stage: Stage) -> None:
    stage.code = FAILING
    run = worker.start(settings(), tmp_path / "runs")
    until(lambda: run.status() == "died")
    assert "no room left on the disk" in run.log.read_text()
    stage.code = OBEDIENT
    worker.resume(run)
    until(lambda: run.tail()[0])
    assert run.log.read_text().startswith("no room left")


def test_processes_that_ended_are_collected(tmp_path: Path, stage: Stage) -> None:
    stage.code = FAILING
    run = worker.start(settings(), tmp_path / "runs")
    until(lambda: run.status() == "died")
    worker.reap()
    assert worker._CHILDREN == []
    assert stage.processes[0].returncode == 1
