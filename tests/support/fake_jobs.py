"""A launcher whose jobs are a few lines of Python that train nothing: for tests of the queue.

Run as a program, it is a process that queues runs and starts them: `python -m tests.support.fake_jobs ROOT …`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from ftlab.runs.queue import start_gate
from ftlab.runs.queue.job_queue import JobQueue

JOB = """
import os, sys, time
folder, seconds = sys.argv[1], float(sys.argv[2])
if sys.stdin.readline() != "go\\n":
    sys.exit()
try:
    os.unlink(folder + "/queued")
except FileNotFoundError:
    sys.exit()
with open(os.path.dirname(folder) + "/began.txt", "a") as file:
    file.write(os.path.basename(folder) + "\\n")
try:
    os.close(os.open(os.path.dirname(folder) + "/at-work", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    with open(os.path.dirname(folder) + "/doubled.txt", "a") as file:
        file.write(os.path.basename(folder) + "\\n")
until = time.monotonic() + seconds
while time.monotonic() < until and not os.path.exists(folder + "/stop"):
    time.sleep(0.002)
with open(folder + "/metrics.jsonl", "a") as file:
    file.write('{"event": "ended", "time": 1.0, "reason": "finished", "epoch": 1, "step": 1, "best_epoch": null, '
        '"best_val_accuracy": null, "seconds": 30.0, "message": null}\\n')
try:
    os.unlink(os.path.dirname(folder) + "/at-work")
except FileNotFoundError:
    pass
os.unlink(folder + "/pid")
"""
"""Begins as a training does, notes that it began, and whether another job was at work at that time."""


class FakeLauncher:
    """Starts `JOB`, of so many seconds, in the place of trainings."""

    def __init__(self, seconds: float = 0.0, code: str = JOB) -> None:
        self.seconds, self.code = seconds, code
        self.commands: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        self.commands.append([*command])
        self.environments.append(environment)
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", self.code, str(run.path), str(self.seconds)],
            stdin=subprocess.PIPE,
            cwd=working_dir,
            start_new_session=True,
        )
        self.processes.append(process)
        launch.name_process(run, process, 0, start_gate.GO_LINE)

    def terminate(self, run: Run) -> None:
        launch.terminate_run(run)

    def is_alive(self, run: Run) -> bool:
        return run.liveness.is_process_alive()

    def clear(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def began(root: Path) -> list[str]:
    """Names of the runs whose jobs began, in order."""
    file = root / "began.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def doubled(root: Path) -> list[str]:
    """Names of the runs that began while another job was at work."""
    file = root / "doubled.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def work_off(queue: JobQueue, root: Path, seconds: float = 60.0) -> None:
    """Start what is next until nobody waits and nothing runs."""
    deadline = time.monotonic() + seconds
    while queue.dispatch() or run_store.find_active_runs(root):
        assert time.monotonic() < deadline, "the queue stands still"
        time.sleep(0.005)


def add(queue: JobQueue, person: str = "", **settings: object) -> Run:
    """Queue a run of a person."""
    config = TrainConfig(**{"sample": "shapes", **settings})  # type: ignore[arg-type]
    return queue.add_training(config, run_quota.make_owner(person))


def _add_many(root: Path, count: int) -> None:
    """Press Start so many times at once, and look after the queue until it is empty."""
    queue = JobQueue(root, FakeLauncher())

    def press_start(number: int) -> None:
        add(queue, f"person {os.getpid()} {number % 5}")
        queue.dispatch()

    threads = [threading.Thread(target=press_start, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work_off(queue, root)


if __name__ == "__main__":
    _add_many(Path(sys.argv[1]), int(sys.argv[2]))
