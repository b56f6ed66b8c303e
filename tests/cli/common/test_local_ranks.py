"""`--processes` starts the ranks of a training, which is followed, stopped and lost as any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Started
from ftlab.runs.jobs import launch
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue import start_gate
from ftlab.training.devices import rank_environment

SETTINGS = {
    **{"processes": 2, "mode": "scratch", "backbone": "timm/test_vit", "batch_size": 4, "torch_num_threads": 1},
    **{"device": "cpu", "augment": "none", "optimizer": "sgd"},
}
PATIENCE_SECONDS = 120.0

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="several processes need Linux or macOS"),
    pytest.mark.skipif(os.cpu_count() == 1, reason="two processes need two cores"),
]


def await_true(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def make_config(pictures: Path, epochs: int) -> TrainConfig:
    return TrainConfig(data=str(pictures), epochs=epochs, **SETTINGS)  # type: ignore[arg-type]


def list_flags() -> list[str]:
    return [word for name, value in SETTINGS.items() for word in (format_flag(name), str(value))]


@pytest.fixture
def training(tiny_folder: Path, tmp_path: Path) -> Iterator[tuple[Run, psutil.Process]]:
    """A long training of two ranks that has begun, and the process that has started them."""
    run = launch.start_training(make_config(tiny_folder, 10_000), tmp_path / "runs")
    process = run.liveness.find_process()
    assert process is not None
    await_true(lambda: run.load_history().steps_done > 0)
    yield run, process
    await_true(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def find_ranks(process: psutil.Process) -> list[psutil.Process]:
    """The ranks that a process has started, by their numbers."""
    return sorted(
        (child for child in process.children() if "RANK" in child.environ()),
        key=lambda child: int(child.environ()["RANK"]),
    )


def have_ended(processes: list[psutil.Process]) -> bool:
    return not any(launch.is_process_running(process) for process in processes)


def test_two_processes_are_started_in_the_queue_and_stop_when_they_are_asked_to(
    tiny_folder: Path, tmp_path: Path
) -> None:
    queue = open_queue(tmp_path / "runs")
    run = queue.add_training(make_config(tiny_folder, 10_000))
    queue.dispatch()
    await_true(lambda: run.load_history().steps_done > 0)
    process = run.liveness.find_process()
    assert process is not None
    ranks = find_ranks(process)
    assert len(ranks) == 2
    assert run.liveness.get_status() == "running"
    run.liveness.request_stop()
    await_true(lambda: have_ended([process, *ranks]))
    assert run.liveness.get_status() == "stopped"
    assert run.last_checkpoint_path.is_file()
    assert {event.processes for event in run.read_events()[0] if isinstance(event, Started)} == {2}
    assert run.read_json("config.json")["processes"] == 2


def test_the_command_trains_with_two_processes(tiny_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ftlab", "train", *list_flags(), "--epochs", "2", "--data", str(tiny_folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=launch.build_environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Epoch   2 ") == 1
    assert "OMP_NUM_THREADS" not in done.stderr
    (name,) = run_store.list_run_names(tmp_path / "runs")
    run = Run(tmp_path / "runs" / name)
    assert run.liveness.get_status() == "finished"
    assert {event.processes for event in run.read_events()[0] if isinstance(event, Started)} == {2}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_others_and_the_run_says_so(
    training: tuple[Run, psutil.Process], rank: int
) -> None:
    run, process = training
    ranks = find_ranks(process)
    ranks[rank].kill()
    await_true(lambda: have_ended([process, *ranks]))
    end_event = run.liveness.read_end_event()
    assert end_event is not None
    assert end_event.reason == "failed"
    assert str(end_event.message).startswith(f"Process {rank} ")
    assert f"python -m ftlab resume {run.name}" in str(end_event.message)
    assert "Traceback" not in run.log_path.read_text(encoding="utf-8")
    assert run.liveness.get_status() == "failed"


def test_ranks_whose_launcher_is_killed_save_and_end(training: tuple[Run, psutil.Process]) -> None:
    run, process = training
    ranks = find_ranks(process)
    process.kill()
    await_true(lambda: have_ended(ranks))
    end_event = run.liveness.read_end_event()
    assert end_event is not None
    assert end_event.reason == "stopped"
    assert run.last_checkpoint_path.is_file()


def test_a_training_is_ended_at_once_with_all_its_ranks(training: tuple[Run, psutil.Process]) -> None:
    run, process = training
    ranks = find_ranks(process)
    launch.terminate_run(run)
    assert have_ended([process, *ranks])
    assert run.liveness.get_status() in ("stopped", "failed")


def test_more_processes_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match=r"--processes asks for 1000, and this machine has \d+ cores"):
        rank_environment.check_process_count(1000)


def test_processes_of_a_launcher_are_as_many_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    for count in (1, 4):
        rank_environment.check_process_count(count)
    with pytest.raises(ConfigError, match="--processes asks for 2, and the launcher has started 4"):
        rank_environment.check_process_count(2)


def test_a_process_alone_never_trains_in_place_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rank_environment.check_has_ranks(1)
    with pytest.raises(ConfigError, match="this process trains alone"):
        rank_environment.check_has_ranks(2)


def test_ctrl_c_reaches_the_ranks_which_save(tiny_folder: Path, tmp_path: Path) -> None:
    run = run_store.create_run(tmp_path / "runs", config := make_config(tiny_folder, 10_000))
    environment = launch.build_environment(**{start_gate.RUN_FOLDER_ENV: str(run.path)})
    command = [sys.executable, "-m", "ftlab", "train", *list_flags(), "--epochs", "10000", "--data", config.data]
    with subprocess.Popen(
        [*command, "--runs", str(tmp_path / "runs")], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        await_true(lambda: run.load_history().steps_done > 0)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in told
    end_event = run.liveness.read_end_event()
    assert end_event is not None
    assert end_event.reason == "stopped"
