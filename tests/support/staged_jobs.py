"""Trainings of a few lines: what `ftlab.runs.jobs.launch` starts during a test, in the place of the real thing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch

OBEDIENT = """
import os, time
from ftlab.runs.events import Ended, Saved
from ftlab.runs.directory import Run
from ftlab.runs.queue import start_gate
assert start_gate.pass_gate()
run = Run(os.environ["FTLAB_RUN"])
run.liveness.claim_ownership()
print("at work in", run.name)
run.append_event(Saved(what="last", epoch=0, step=0))
deadline = time.monotonic() + 60
while not run.liveness.is_stop_requested() and time.monotonic() < deadline:
    time.sleep(0.01)
run.append_event(Ended(reason="stopped", epoch=0, step=0, best_epoch=None, best_val_accuracy=None, seconds=0.0))
run.liveness.release_ownership()
"""
DEAF = """
import os, signal, time
from ftlab.runs.events import Saved
from ftlab.runs.directory import Run
from ftlab.runs.queue import start_gate
signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert start_gate.pass_gate()
run = Run(os.environ["FTLAB_RUN"])
run.liveness.claim_ownership()
run.append_event(Saved(what="last", epoch=0, step=0))
time.sleep(60)
"""
"""Hears no wish to stop and no signal that can be ignored."""
FAILING = "raise SystemExit('no room left on the disk')"


class Stage:
    """What was started: the words that were said, and what ran in their place."""

    def __init__(self) -> None:
        self.code = OBEDIENT
        self.words: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._real = subprocess.Popen

    def popen(self, words: list[str], **options: object) -> subprocess.Popen[bytes]:
        self.words = words
        process: subprocess.Popen[bytes] = self._real([sys.executable, "-c", self.code], **options)  # type: ignore[call-overload]
        self.processes.append(process)
        return process

    def start(self, root: Path, code: str | None = None) -> Run:
        """A run whose process is these lines."""
        self.code = self.code if code is None else code
        return launch.start_training(TrainConfig(sample="shapes"), root)

    def gone(self, root: Path, code: str) -> Run:
        """The same, when the process has ended and whoever waited for it has written down how."""
        run = self.start(root, code)
        until(lambda: ended(run))
        return run

    def clear(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def ended(run: Run) -> bool:
    """Whether it is known how its process ended."""
    record = run.liveness.read_process_record()
    return record is not None and record.code is not None


def until(true: Callable[[], object]) -> None:
    """Wait for something that comes soon, or fail."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
