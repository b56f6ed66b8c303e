"""A spare process that has imported PyTorch: it trains as a new one does, and ends with whoever keeps it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors import safe_open

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.runs.directory import Run
from ftlab.runs.jobs import local_launcher, warm_worker
from ftlab.runs.jobs.dispatcher import Dispatcher
from ftlab.runs.jobs.warm_worker import WarmWorker
from tests.support import ROOT
from tests.support.staged_jobs import OBEDIENT, Stage, ended, until

WAITING = (
    "import json, os, sys\n"
    "job = json.loads(sys.stdin.buffer.readline() or sys.exit())\n"
    "os.environ.update(job['environment'])\n"
    "sys.stdout = sys.stderr = open(job['log'], 'a', buffering=1)\n"
    "print('arguments', *job['arguments'])\n"
) + OBEDIENT
"""A spare process of a few lines, which imports no torch."""
KEEP = """
import sys, time
from ftlab.config.train_config import TrainConfig
from ftlab.runs.jobs import local_launcher, warm_worker
warm_worker.SHARED_WORKER.keep_ready()
pid = warm_worker.SHARED_WORKER.get_process_id()
print(pid, flush=True)
if len(sys.argv) > 1:
    queue = local_launcher.open_queue(sys.argv[1])
    run = queue.add_training(TrainConfig(data=sys.argv[2], epochs=300, image_size=32, torch_num_threads=1))
    queue.dispatch()
    print(run.path, flush=True)
time.sleep(600)
"""


def settings(folder: Path, **changed: Any) -> TrainConfig:
    return TrainConfig(
        **{"data": str(folder), "epochs": 3, "image_size": 32, "seed": 5, "torch_num_threads": 1, **changed}
    )


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmWorker]:
    """The spare process of this test; nothing depends on how much memory is free."""
    worker = WarmWorker()
    monkeypatch.setattr(warm_worker, "SHARED_WORKER", worker)
    monkeypatch.setenv("FTLAB_WARM_WORKER", "1")
    monkeypatch.setattr(machine, "get_available_memory", lambda: 64 << 30)
    yield worker
    worker.discard()


def start(root: Path, config: TrainConfig) -> Run:
    queue = local_launcher.open_queue(root)
    run = queue.add_training(config)
    queue.dispatch()
    return run


def read_tensors(run: Run) -> dict[str, bytes]:
    with safe_open(run.best_weights_path, "np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 - no mapping


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# --- as a new one


def test_it_trains_to_the_same_bits_as_a_new_process_and_its_end_is_recorded(
    worker: WarmWorker, tiny_folder: Path, tmp_path: Path
) -> None:
    cold = start(tmp_path / "runs", settings(tiny_folder))
    until(lambda: ended(cold))
    worker.keep_ready()
    pid = worker.get_process_id()
    warm = start(tmp_path / "runs", settings(tiny_folder))
    assert worker.get_process_id() is None, "it has become the training, and no longer is a spare one"
    until(lambda: ended(warm))
    cold_record, warm_record = (run.liveness.read_process_record() for run in (cold, warm))
    assert cold_record is not None
    assert warm_record is not None
    assert (warm_record.pid, warm_record.code, cold_record.code) == (pid, 0, 0)
    assert cold_record.pid != pid
    assert [run.liveness.get_status() for run in (cold, warm)] == ["finished", "finished"]
    assert read_tensors(warm) == read_tensors(cold)
    logs = [run.log_path.read_text(encoding="utf-8").replace(run.name, "RUN") for run in (cold, warm)]
    assert "Epoch" in logs[1]
    assert [line.split()[0] for line in logs[0].splitlines()] == [line.split()[0] for line in logs[1].splitlines()]


def test_torch_is_there_before_the_job_and_no_gpu_is_touched() -> None:
    code = (
        "import sys; from ftlab.cli.common import spare_process; before = 'torch' in sys.modules\n"
        "spare_process.import_libraries(); import torch\n"
        "print(before, 'ftlab.training.loop' in sys.modules, torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


# --- whoever keeps it


@pytest.mark.parametrize("is_ready", [False, True], ids=["while it imports", "while it waits"])
def test_it_ends_when_the_server_is_killed(*, is_ready: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", KEEP], cwd=ROOT, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        if is_ready:
            # Reading is all that is left to do.
            until(lambda: is_idle(pid))
        keeper.kill()
        keeper.wait()
    until(lambda: gone(pid))


def is_idle(pid: int) -> bool:
    """Whether a process computes nothing for half a second."""
    process = psutil.Process(pid)
    before = process.cpu_times()
    process.cpu_percent()
    return bool(process.cpu_percent(0.5) == 0.0 and before.user > 1.0)


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
def test_it_survives_the_server_once_it_trains(tiny_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEP, str(tmp_path / "runs"), str(tiny_folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        run = Run(keeper.stdout.readline().decode().strip())
        until(lambda: not run.liveness.is_queued())
        os.killpg(keeper.pid, signal.SIGKILL) if os.getpgid(keeper.pid) == keeper.pid else keeper.kill()
        keeper.wait()
    process = run.liveness.find_process()
    assert process is not None
    assert process.pid == pid
    assert os.getsid(pid) == pid, "a session of its own"
    until(lambda: run.load_history().steps)
    run.liveness.request_stop()
    until(lambda: run.liveness.get_status() == "stopped")


# --- whenever it is not what a new one would be, a new one is started


def keep_ready(stage: Stage, worker: WarmWorker) -> int:
    """A spare process of a few lines is kept; a new process is one of a few other lines."""
    # Not a fixture: pytest changes the environment between the setup of a test and its call.
    stage.code = WAITING
    worker.keep_ready()
    stage.code = OBEDIENT
    pid = worker.get_process_id()
    assert pid is not None
    return pid


def finish(run: Run) -> str:
    """What its process has printed first."""
    until(lambda: run.log_path.exists() and "at work" in run.log_path.read_text(encoding="utf-8"))
    run.liveness.request_stop()
    until(lambda: ended(run))
    return run.log_path.read_text(encoding="utf-8").split()[0]


def test_it_gets_the_command_that_the_page_shows(stage: Stage, worker: WarmWorker, tmp_path: Path) -> None:
    pid = keep_ready(stage, worker)
    run = start(tmp_path, TrainConfig(sample="shapes", epochs=3))
    assert run.read_json("pid")["pid"] == pid
    assert finish(run) == "arguments"
    assert "train --sample shapes" in run.log_path.read_text(encoding="utf-8")
    assert len(stage.processes) == 1


@pytest.mark.parametrize("changed", ["environment", "folder", "code", "setting", "dead"])
def test_a_stale_one_is_ended_and_a_new_process_is_started(
    stage: Stage, worker: WarmWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    pid = keep_ready(stage, worker)
    if changed == "environment":
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
    elif changed == "folder":
        monkeypatch.chdir(tmp_path)
    elif changed == "code":
        monkeypatch.setattr(warm_worker, "_SOURCE_ROOT", tmp_path)
    elif changed == "setting":
        monkeypatch.setenv("FTLAB_WARM_WORKER", "0")
    else:
        stage.processes[0].kill()
        stage.processes[0].wait()
    run = start(tmp_path / "runs", TrainConfig(sample="shapes"))
    assert run.read_json("pid")["pid"] == stage.processes[1].pid
    assert finish(run) == "at"
    until(lambda: gone(pid))


def test_what_a_server_declared_goes_with_the_job(
    stage: Stage, worker: WarmWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another quota is no reason for a new process."""
    pid = keep_ready(stage, worker)
    monkeypatch.setenv("FTLAB_RUN_QUOTA_BYTES", "123456789")
    run = start(tmp_path, TrainConfig(sample="shapes"))
    assert run.read_json("pid")["pid"] == pid
    finish(run)
    assert len(stage.processes) == 1


def test_one_that_dies_as_it_gets_the_job_is_replaced(stage: Stage, worker: WarmWorker, tmp_path: Path) -> None:
    stage.code = "import sys; sys.stdin.buffer.readline(); sys.exit(1)"
    worker.keep_ready()
    stage.code = OBEDIENT
    queue = local_launcher.open_queue(tmp_path)
    run = queue.add_training(TrainConfig(sample="shapes"))
    queue.dispatch()
    # The first one may have died before it could be given the job: the next one has got it at once then.
    until(lambda: len(stage.processes) == 2 or queue.dispatch())
    assert finish(run) == "at"
    assert len(stage.processes) == 2


# --- when there is one


def test_there_is_one_at_most_and_none_where_it_is_switched_off_or_memory_is_short(
    stage: Stage, worker: WarmWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.code = WAITING
    monkeypatch.setenv("FTLAB_WARM_WORKER", "0")
    worker.keep_ready()
    monkeypatch.setenv("FTLAB_WARM_WORKER", "1")
    monkeypatch.setattr(machine, "get_available_memory", lambda: warm_worker.MIN_AVAILABLE_BYTES - 1)
    worker.keep_ready()
    assert (stage.processes, worker.get_process_id()) == ([], None)
    monkeypatch.setattr(machine, "get_available_memory", lambda: warm_worker.MIN_AVAILABLE_BYTES)
    worker.keep_ready()
    worker.keep_ready()
    assert [process.pid for process in stage.processes] == [worker.get_process_id()]
    worker.discard()
    assert worker.get_process_id() is None


def test_one_that_would_not_be_used_any_more_is_replaced(
    stage: Stage, worker: WarmWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server sets further environment variables while it starts."""
    pid = keep_ready(stage, worker)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    stage.code = WAITING
    worker.keep_ready()
    assert gone(pid)
    run = start(tmp_path, TrainConfig(sample="shapes"))
    assert run.read_json("pid")["pid"] == stage.processes[1].pid
    assert finish(run) == "arguments"


def test_one_that_cannot_import_is_not_tried_again_and_again(stage: Stage, worker: WarmWorker) -> None:
    stage.code = "raise ImportError('no torch')"
    worker.keep_ready()
    stage.processes[0].wait()
    for _ in range(5):
        worker.keep_ready()
    assert len(stage.processes) == 1


def test_a_server_keeps_one_ready_while_nothing_is_trained(
    stage: Stage, worker: WarmWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.POLL_SECONDS", 0.01)
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.WARM_DELAY_SECONDS", 0.0)
    stage.code = WAITING
    dispatcher = Dispatcher(tmp_path)
    dispatcher.start()
    until(worker.get_process_id)
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.WARM_DELAY_SECONDS", 0.5)
    run = start(tmp_path, TrainConfig(sample="shapes"))
    assert worker.get_process_id() is None
    time.sleep(0.7)
    assert len(stage.processes) == 1, "beside a training that nobody waits for there is none"
    finish(run)
    until(worker.get_process_id)
    dispatcher.stop()
    assert len(stage.processes) == 2


def test_it_is_made_ready_for_whoever_waits_once_the_training_before_is_under_way(
    stage: Stage, worker: WarmWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.POLL_SECONDS", 0.01)
    monkeypatch.setattr("ftlab.runs.jobs.dispatcher.WARM_DELAY_SECONDS", 0.5)
    first, second = (start(tmp_path, TrainConfig(sample="shapes")) for _ in range(2))
    assert second.liveness.is_queued()
    stage.code = WAITING
    dispatcher = Dispatcher(tmp_path)
    dispatcher.start()
    until(worker.get_process_id)
    record = first.liveness.read_process_record()
    assert record is not None
    assert time.time() - record.since >= 0.5
    pid = worker.get_process_id()
    finish(first)
    until(lambda: second.liveness.is_process_alive())
    assert second.read_json("pid")["pid"] == pid
    dispatcher.stop()
    finish(second)
