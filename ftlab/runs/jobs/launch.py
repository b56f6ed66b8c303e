"""Start, resume and end the process of a run. No torch.

The process runs the very command that the page shows; the run directory that was made for it travels in the
environment (`FTLAB_RUN`), so that the command stays what a person would type. As long as this process lives, it waits
for the end of those that it started, and writes down how they ended: nobody else is told their exit status.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ftlab.config import train_config
from ftlab.runs import run_store
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

RUN_FOLDER_ENV = "FTLAB_RUN"
"""Environment variable: the run directory, already made, that `train` shall use."""
TERMINATE_TIMEOUT_SECONDS = 3.0
"""Seconds that a process is given to end in order before it is ended by force."""


def build_train_command(config: TrainConfig, root: Path | str) -> list[str]:
    """The words of the command that trains with these settings, as a person would type them."""
    return ["python", "-m", "ftlab", "train", *train_config.config_to_argv(config), "--runs", str(root)]


def format_command(arguments: list[str]) -> str:
    """A command as one line for the shell of this system."""
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)


def start_training(config: TrainConfig, root: Path | str) -> Run:
    """A new run and its process.

    Raises:
        RunError: the folder cannot be written.
    """
    run = run_store.create_run(root, config)
    return spawn_process(build_train_command(config, root), run)


def resume_training(run: Run) -> Run:
    """Go on with a run that ended early.

    Raises:
        RunError: it is at work already, or it is finished.
    """
    status = run.get_status()
    if status in run_store.ACTIVE_STATUSES:
        raise RunError("run.busy", run=run.name)
    if status == "finished":
        raise RunError("run.finished", run=run.name)
    return spawn_process(["python", "-m", "ftlab", "resume", run.name, "--runs", str(run.path.parent)], run)


def build_environment(**variables: str) -> dict[str, str]:
    """The environment in which `python -m ftlab` finds this very ftlab, wherever it was started."""
    import_root = str(Path(__file__).resolve().parents[3])
    python_path = os.pathsep.join(filter(None, [import_root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": python_path, **variables}


def detached_popen_options() -> dict[str, Any]:
    """What makes a process outlive the one that starts it, for `subprocess.Popen`."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def terminate_run(run: Run) -> None:
    """End the process of a run and all that it started, whether it listens or not. What it saved stays.

    Raises:
        RunError: no process trains it, or the system does not let go of it.
    """
    process = run.find_process()
    if process is None:
        raise RunError("run.idle", run=run.name)
    process_tree = [process]
    with suppress(psutil.Error):
        process_tree += process.children(recursive=True)
    run.mark_force_stop()
    for send_signal in (psutil.Process.terminate, psutil.Process.kill):
        for member in process_tree:
            with suppress(psutil.Error):
                send_signal(member)
        if _wait_until_gone(process_tree):
            return
    raise RunError("run.undead", run=run.name, pid=process.pid)


def _wait_until_gone(processes: list[psutil.Process]) -> bool:
    """Whether all are gone, as soon as they are or at the end of the patience. Not by waiting for them: their exit
    status belongs to whoever started them."""
    deadline = time.monotonic() + TERMINATE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if not any(map(is_process_running, processes)):
            return True
        time.sleep(0.05)
    return False


def is_process_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def spawn_process(arguments: list[str], run: Run) -> Run:
    """The process outlives this one: it has a session of its own, and its output goes to a file."""
    # A crash inside a library leaves the lines of Python that led there.
    python_variables = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    try:
        with open(run.log_path, "ab") as log:
            log_offset = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [sys.executable, *arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=build_environment(**{RUN_FOLDER_ENV: str(run.path)}, **python_variables),
                **detached_popen_options(),
            )
    except OSError as cause:
        raise RunError("run.write", folder=run.path, cause=cause.strerror or cause) from cause
    try:
        run.set_owner(process.pid, log_offset)
    except OSError as cause:
        process.kill()
        process.wait()
        raise RunError("run.write", folder=run.path, cause=cause.strerror or cause) from cause
    threading.Thread(target=lambda: run.record_exit(process.pid, process.wait()), daemon=True).start()
    return run
