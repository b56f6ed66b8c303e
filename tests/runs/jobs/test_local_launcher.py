"""The queue with processes of this machine, and the thread that looks after it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.runs.jobs.dispatcher import Dispatcher
from ftlab.runs.jobs.local_launcher import describe_wait, open_queue
from ftlab.runs.queue import train_command
from tests.support.staged_jobs import FAILING, Stage, until


def test_the_command_runs_where_and_with_what_it_was_queued(stage: Stage, tmp_path: Path) -> None:
    config = TrainConfig(sample="shapes", epochs=3)
    queue = open_queue(tmp_path / "runs")
    run = queue.add_training(config)
    queue.dispatch()
    assert stage.words == [sys.executable, *train_command.build_train_command(config, tmp_path / "runs")[1:]]
    until(lambda: "at work in" in run.log_path.read_text(encoding="utf-8"))
    assert run.liveness.get_status() == "running"
    assert not run.liveness.is_queued()
    run.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "stopped")
    record = run.liveness.read_process_record()
    assert record is not None
    until(lambda: (record := run.liveness.read_process_record()) is not None and record.code == 0)


@pytest.mark.usefixtures("stage")
def test_a_thread_starts_what_waits_when_its_turn_comes(tmp_path: Path) -> None:
    queue = open_queue(tmp_path / "runs")
    dispatcher = Dispatcher(tmp_path / "runs")
    dispatcher.start()
    first, second = (queue.add_training(TrainConfig(sample="shapes")) for _ in range(2))
    until(lambda: first.liveness.get_status() == "running" and not first.liveness.is_queued())
    assert describe_wait(first) == ""
    assert second.liveness.get_status() == "queued"
    first.liveness.request_stop()
    until(lambda: second.liveness.get_status() == "running")
    dispatcher.stop()
    second.liveness.request_stop()
    until(lambda: not second.liveness.is_active())


@pytest.mark.usefixtures("stage")
def test_the_place_of_a_queued_run_is_told(tmp_path: Path) -> None:
    queue = open_queue(tmp_path / "runs")
    first, second = (queue.add_training(TrainConfig(sample="shapes")) for _ in range(2))
    queue.dispatch()
    assert describe_wait(second) == "You are 1st."
    first.liveness.request_stop()
    until(lambda: not first.liveness.is_active())


def test_one_that_ends_before_it_begins_shows_its_output(stage: Stage, tmp_path: Path) -> None:
    stage.code = FAILING
    queue = open_queue(tmp_path / "runs")
    run = queue.add_training(TrainConfig(sample="shapes"))
    until(lambda: queue.dispatch() or run.liveness.get_status() == "failed")
    until(lambda: not queue.dispatch() and run.liveness.get_status() == "failed")
    assert run.log_path.read_text(encoding="utf-8").count("no room left") == 3


def test_an_error_of_the_queue_is_logged_once_and_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.POLL_SECONDS", 0.01)
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise OSError("the disk is gone")

    dispatcher = Dispatcher(tmp_path)
    monkeypatch.setattr(dispatcher._queue, "dispatch", fail)
    with caplog.at_level(logging.WARNING):
        dispatcher.start()
        until(lambda: len(calls) > 3)
        dispatcher.stop()
    assert [record.getMessage() for record in caplog.records] == ["the queue stands still: the disk is gone"]
