"""A training is a process of its own, started with the command that the page shows. Here it is a few lines long."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Saved
from ftlab.runs.jobs import launch, postmortem
from ftlab.runs.queue import train_command
from tests.support.staged_jobs import DEAF, FAILING, OBEDIENT, Stage, ended, until


def settings() -> TrainConfig:
    return TrainConfig(data="my pictures", epochs=3, learning_rate=0.01)


def test_the_command_is_what_a_person_would_type() -> None:
    words = train_command.build_train_command(settings(), "my runs")
    assert words[:4] == ["python", "-m", "ftlab", "train"]
    assert words[-2:] == ["--runs", "my runs"]


def test_it_starts_the_command_that_is_shown(tmp_path: Path, stage: Stage) -> None:
    run = launch.start_training(settings(), tmp_path / "runs")
    assert stage.words == [sys.executable, *train_command.build_train_command(settings(), tmp_path / "runs")[1:]]
    assert run.load_config() == settings()


@pytest.mark.usefixtures("stage")
def test_it_runs_is_asked_to_stop_and_has_stopped(tmp_path: Path) -> None:
    run = launch.start_training(settings(), tmp_path / "runs")
    assert run.liveness.get_status() == "running"
    until(lambda: run.read_events()[0])
    assert isinstance(run.read_events()[0][0], Saved)
    assert run.liveness.get_status() == "running"
    run.liveness.request_stop()
    until(lambda: not run.liveness.is_process_alive())
    assert run.liveness.get_status() == "stopped"
    assert run.log_path.read_text() == f"at work in {run.name}\n"


@pytest.mark.skipif(os.name == "nt", reason="sessions are a thing of POSIX")
def test_what_ends_the_server_does_not_reach_it(tmp_path: Path, stage: Stage) -> None:
    launch.start_training(settings(), tmp_path / "runs")
    pid = stage.processes[0].pid
    assert os.getsid(pid) == pid != os.getsid(0)


@pytest.mark.usefixtures("stage")
def test_another_object_in_another_place_sees_the_same(tmp_path: Path) -> None:
    run = launch.start_training(settings(), tmp_path / "runs")
    seen = run_store.find_run(tmp_path / "runs", "latest")
    assert (seen.name, seen.liveness.get_status()) == (run.name, "running")
    seen.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "stopped")


def test_a_run_that_stopped_is_resumed_in_its_own_folder(tmp_path: Path, stage: Stage) -> None:
    run = launch.start_training(settings(), tmp_path / "runs")
    with pytest.raises(RunError) as caught:
        launch.resume_training(run)
    assert caught.value.code == "run.busy"
    until(lambda: run.read_events()[0])
    run.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "stopped")

    launch.resume_training(run)
    assert stage.words[1:] == ["-m", "ftlab", "resume", run.name, "--runs", str(tmp_path / "runs")]
    assert not run.liveness.is_stop_requested()
    assert run.liveness.get_status() == "running"
    until(lambda: len(run.read_events()[0]) == 3)
    assert run_store.list_run_names(tmp_path / "runs") == [run.name]


def test_a_finished_run_is_not_resumed(tmp_path: Path, stage: Stage) -> None:
    stage.code = OBEDIENT.replace('"stopped"', '"finished"')
    run = launch.start_training(settings(), tmp_path / "runs")
    run.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "finished")
    with pytest.raises(RunError) as caught:
        launch.resume_training(run)
    assert caught.value.code == "run.finished"


def test_a_process_that_dies_without_a_word_leaves_its_last_ones_in_the_log(tmp_path: Path, stage: Stage) -> None:
    stage.code = FAILING
    run = launch.start_training(settings(), tmp_path / "runs")
    until(lambda: run.liveness.get_status() == "died")
    assert "no room left on the disk" in run.log_path.read_text()
    stage.code = OBEDIENT
    launch.resume_training(run)
    until(lambda: run.read_events()[0])
    assert run.log_path.read_text().startswith("no room left")


def test_it_is_written_down_how_a_process_ended_and_none_stays_a_zombie(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path / "runs", FAILING)
    record = run.liveness.read_process_record()
    assert record is not None
    assert (record.pid, record.code) == (stage.processes[0].pid, 1)
    assert not psutil.pid_exists(record.pid)


def test_an_end_that_is_told_late_is_not_taken_for_that_of_the_next_process(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path / "runs", FAILING)
    first = stage.processes[0].pid
    stage.code = OBEDIENT
    launch.resume_training(run)
    run.liveness.record_exit(first, 1)
    record = run.liveness.read_process_record()
    assert record is not None
    assert (record.pid, record.code) == (stage.processes[1].pid, None)
    assert run.liveness.get_status() == "running"


def test_a_process_that_dies_before_its_first_word_is_not_taken_for_stopped(tmp_path: Path, stage: Stage) -> None:
    run = stage.start(tmp_path / "runs", OBEDIENT)
    until(lambda: run.read_events()[0])
    run.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "stopped")
    stage.code = FAILING
    launch.resume_training(run)
    until(lambda: ended(run))
    assert run.liveness.get_status() == "died"


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
def test_one_that_does_not_listen_is_ended_by_force_with_all_that_it_started(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 0.3)
    child = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1).pid, flush=True)"
    )
    run = stage.start(tmp_path / "runs", child + DEAF)
    until(lambda: run.read_events()[0])
    children = psutil.Process(stage.processes[0].pid).children()
    assert len(children) == 1
    run.liveness.request_stop()
    launch.terminate_run(run)
    assert not run.liveness.is_process_alive()
    assert not launch.is_process_running(children[0])
    assert run.liveness.get_status() == "stopped"
    until(lambda: ended(run))
    record = run.liveness.read_process_record()
    assert record is not None
    assert record.code == -signal.SIGKILL
    stage.code = OBEDIENT
    launch.resume_training(run)
    assert run.liveness.get_status() == "running"
    assert not run.liveness.is_stop_requested()


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be asked to end there")
def test_one_that_listens_after_all_ends_in_order(tmp_path: Path, stage: Stage) -> None:
    listening = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: run.liveness.request_stop())\n"
    run = stage.start(tmp_path / "runs", listening + OBEDIENT)
    until(lambda: run.read_events()[0])
    launch.terminate_run(run)
    last = run.liveness.read_end_event()
    assert last is not None
    assert last.reason == "stopped"


def test_what_is_not_at_work_cannot_be_ended(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path / "runs", FAILING)
    with pytest.raises(RunError) as caught:
        launch.terminate_run(run)
    assert caught.value.code == "run.idle"
    assert run.liveness.get_status() == "died"


def test_a_process_of_the_same_number_is_left_alone(tmp_path: Path, stage: Stage) -> None:
    run = stage.start(tmp_path / "runs")
    until(lambda: run.read_events()[0])
    pid = stage.processes[0].pid
    run.write_json("pid", {"pid": pid, "created": run.read_json("pid")["created"] - 1000})
    with pytest.raises(RunError):
        launch.terminate_run(run)
    assert psutil.pid_exists(pid)


def test_what_the_system_does_not_let_go_of_is_told(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage.start(tmp_path / "runs", DEAF)
    until(lambda: run.read_events()[0])
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(psutil.Process, "terminate", lambda _: None)
    monkeypatch.setattr(psutil.Process, "kill", lambda _: None)
    with pytest.raises(RunError, match=f"does not end process {stage.processes[0].pid}"):
        launch.terminate_run(run)


def test_a_folder_that_cannot_be_written_any_more_is_told_and_no_process_is_left(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "write_json", full)
    run = Run(tmp_path)
    with pytest.raises(RunError, match="No space left on device"):
        launch.spawn_process(["python"], run)
    assert stage.processes[0].poll() is not None


def test_a_process_that_is_silent_is_at_work_still(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage.start(tmp_path / "runs", DEAF)
    until(lambda: run.read_events()[0])
    later = time.monotonic() + 130
    monkeypatch.setattr(machine, "read_awake_clock", lambda: later)
    assert run.liveness.get_status() == "hanging"
    assert run.liveness.is_active()
    with pytest.raises(RunError) as caught:
        launch.resume_training(run)
    assert caught.value.code == "run.busy"


def test_a_real_training_that_is_killed_says_so_and_goes_on(tmp_path: Path, tiny_folder: Path) -> None:
    run = launch.start_training(
        TrainConfig(data=str(tiny_folder), epochs=10_000, torch_num_threads=1), tmp_path / "runs"
    )
    until(lambda: run.load_history().steps or ended(run))
    pulse = run.liveness.read_last_beat()
    assert pulse is not None
    assert pulse.memory_bytes > 1e8
    process = run.liveness.find_process()
    assert process is not None, run.log_path.read_text()
    process.kill()
    until(lambda: ended(run))
    assert run.liveness.get_status() == "died"
    assert postmortem.find_cause(run).label == ("Killed" if os.name == "posix" else "Ended without a message")

    reached = run.load_history().event_count
    launch.resume_training(run)
    until(lambda: run.load_history().event_count > reached + 5 or ended(run))
    run.liveness.request_stop()
    until(lambda: not run.liveness.is_process_alive())
    assert run.liveness.get_status() == "stopped", run.log_path.read_text()
