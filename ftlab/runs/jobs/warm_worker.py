"""A spare process that has imported PyTorch already, and becomes the process of the next training. No torch here.

It runs one command line, through the same entry as `python -m ftlab …` (`ftlab.cli.common.spare_process`). Until then
it has no run, no CUDA context and no output, and ends as soon as this process does. Whenever it is not exactly the
process that a new one would be (other code, environment or working directory), a new one is started instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import machine
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from ftlab.runs.queue import marker, start_gate

WARM_WORKER_ENV = "FTLAB_WARM_WORKER"
"""Environment variable: `0` keeps no spare process."""
SPARE_COMMAND = "spare"
"""Command that imports what a training needs and waits for a command line on its standard input."""
MIN_AVAILABLE_BYTES = 4 << 30
"""Memory that must be available before a spare process is started: several times what it takes."""
RETRY_SECONDS = 60.0
"""Seconds without a spare process after one has ended by itself, as where a library cannot be imported."""
_SOURCE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class _Fingerprint:
    """What must be the same for a spare process to be as good as a new one."""

    environment: Mapping[str, str]
    working_dir: str
    code: tuple[int, int]


class WarmWorker:
    """Keeps at most one spare process. Thread-safe."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fingerprint: _Fingerprint | None = None
        self._retry_time = 0.0

    def keep_ready(self) -> None:
        """Start a spare process unless there is one, or this machine has too little memory for it.

        One whose environment is no longer that of this process would not be used, and is replaced.
        """
        if not is_allowed():
            return
        with self._lock:
            if self._process is not None:
                is_dead = self._process.poll() is not None
                if not is_dead and self._fingerprint and self._fingerprint.environment == _keep_relevant(os.environ):
                    return
                _end_process(self._process)
                self._process, self._retry_time = None, time.monotonic() + RETRY_SECONDS if is_dead else 0.0
            if time.monotonic() < self._retry_time or machine.get_available_memory() < MIN_AVAILABLE_BYTES:
                return
            environment = dict(os.environ)
            self._fingerprint = _take_fingerprint(environment, str(Path.cwd()))
            variables = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
            with suppress(OSError):  # no room for another process: the next training starts in the ordinary way
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "ftlab", SPARE_COMMAND],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=launch.build_environment(environment, **variables),
                    **launch.detached_popen_options(),
                )

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> bool:
        """Let the spare process train a run, if it is as good as a new one; a `RunError` propagates.

        Args:
            run: the run directory.
            command: the command, as a person would type it: `python -m ftlab train …`.
            environment: environment variables.
            working_dir: working directory.

        Returns:
            Whether it does. If not, a process is to be started in the ordinary way.
        """
        process = self._take(environment, working_dir)
        if process is None:
            return False
        with run.translate_write_errors(), run.log_path.open("ab") as log:
            log_offset = log.seek(0, os.SEEK_END)
        variables = {start_gate.RUN_FOLDER_ENV: str(run.path), start_gate.GATE_ENV: str(run.path)}
        job = {
            "arguments": [*command[3:]],
            "environment": {name: environment[name] for name in marker.DECLARED_VARIABLES if name in environment}
            | variables,
            "working_dir": working_dir,
            "log": str(run.log_path),
        }
        launch.name_process(run, process, log_offset, json.dumps(job).encode() + b"\n" + start_gate.GO_LINE)
        return True

    def discard(self) -> None:
        """End the spare process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end_process(process)

    def get_process_id(self) -> int | None:
        """Return the process ID of the spare process; None if there is none."""
        with self._lock:
            alive = self._process is not None and self._process.poll() is None
            return self._process.pid if self._process is not None and alive else None

    def _take(self, environment: Mapping[str, str], working_dir: str) -> subprocess.Popen[bytes] | None:
        """Return the spare process, which is not kept any longer; None if it is not as good as a new one."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return None
        is_dead = process.poll() is not None
        if is_dead or not is_allowed() or _take_fingerprint(environment, working_dir) != self._fingerprint:
            _end_process(process)
            return None
        return process


def is_allowed() -> bool:
    """Return whether spare processes are kept."""
    return os.environ.get(WARM_WORKER_ENV, "1") != "0"


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """End a spare process that nobody needs, or forget one that has ended."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _take_fingerprint(environment: Mapping[str, str], working_dir: str) -> _Fingerprint:
    """Return what a process depends on that is started now.

    Args:
        environment: its environment variables; those that are passed on with the job do not count.
        working_dir: its working directory.
    """
    newest, count = 0, 0
    for folder, _, names in os.walk(_SOURCE_ROOT):
        for name in names:
            if name.endswith((".py", ".toml")):
                count += 1
                newest = max(newest, os.stat(os.path.join(folder, name)).st_mtime_ns)  # noqa: PTH116, PTH118
    return _Fingerprint(_keep_relevant(environment), working_dir, (count, newest))


def _keep_relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that are not passed on with the job."""
    return {name: value for name, value in environment.items() if name not in marker.DECLARED_VARIABLES}


SHARED_WORKER = WarmWorker()
"""The spare process of this process; nobody but a server starts one."""
