"""Start, resume and terminate the training process of a run. No torch.

The process runs exactly the command that the page shows. The run directory created for it is passed in the environment
(`FTLAB_RUN`), so that the command stays what a person would type. As long as this process lives, it waits for the
processes that it started and records how they ended: only the parent gets the exit status.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs import run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.liveness import ACTIVE_STATUSES
from ftlab.runs.queue import start_gate, train_command

TERMINATE_TIMEOUT_SECONDS = 3.0
"""Seconds that a process has after SIGTERM before it is killed, and after that before it is reported."""


def start_training(config: TrainConfig, root: Path | str, owner: str = "") -> Run:
    """Create a run and start its process; a `RunError` says that the folder cannot be written, or is full.

    Args:
        config: the configuration.
        root: folder of all runs.
        owner: whose share of the disk the run takes, as `run_quota.make_owner` returns it.

    Returns:
        The run.
    """
    run_quota.check_start(Path(root), owner)
    run = run_store.create_run(root, config)
    with run.translate_write_errors():
        run_quota.write_owner(run, owner)
    return spawn_process(train_command.build_train_command(config, root), run)


def resume_training(run: Run) -> Run:
    """Start a process that continues a run from its last checkpoint.

    Args:
        run: a run that ended early.

    Returns:
        The run.

    Raises:
        RunError: a process works on the run already, it is finished, its `config.json` is damaged, or there is no
            space left for its owner's runs.
    """
    status = run.liveness.get_status()
    if status in ACTIVE_STATUSES:
        raise RunError("run.busy", run=run.name)
    if status == "finished":
        raise RunError("run.finished", run=run.name)
    run.load_config()  # a damaged one is reported here, not by a process that dies of it
    run_quota.check_start(run.path.parent, run_quota.read_owner(run))
    return spawn_process(train_command.build_resume_command(run), run)


def build_environment(environment: Mapping[str, str] | None = None, /, **variables: str) -> dict[str, str]:
    """Return the environment in which `python -m ftlab` finds this ftlab, whatever the working directory.

    Args:
        environment: to start from; None: that of this process.
        **variables: further environment variables.
    """
    inherited = os.environ if environment is None else environment
    import_root = str(Path(__file__).resolve().parents[3])
    python_path = os.pathsep.join(filter(None, [import_root, inherited.get("PYTHONPATH")]))
    return {**inherited, "PYTHONPATH": python_path, **variables}


def detached_popen_options() -> dict[str, Any]:
    """Return arguments of `subprocess.Popen` with which a process outlives the one that starts it."""
    if sys.platform == "win32":
        # A process group of its own: Ctrl+C in the terminal of the server does not reach the training.
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def terminate_run(run: Run) -> None:
    """Terminate the process of a run and its children, whether it reacts or not. Its checkpoints stay.

    Args:
        run: the run.

    Raises:
        RunError: no process trains the run, or the process cannot be killed.
    """
    process = run.liveness.find_process()
    if process is None:
        raise RunError("run.idle", run=run.name)
    # Collected before the first signal: children of a dead process are no longer found through it.
    process_tree = [process]
    with suppress(psutil.Error):
        process_tree += process.children(recursive=True)
    run.liveness.mark_force_stop()
    for send_signal in (psutil.Process.terminate, psutil.Process.kill):
        for member in process_tree:
            with suppress(psutil.Error):
                send_signal(member)
        if _wait_until_gone(process_tree):
            return
    raise RunError("run.undead", run=run.name, pid=process.pid)


def _wait_until_gone(processes: list[psutil.Process]) -> bool:
    """Wait for processes to end, for at most `TERMINATE_TIMEOUT_SECONDS`.

    Args:
        processes: the processes.

    Returns:
        Whether all have ended.
    """
    # Polls instead of waiting for them: that would take the exit status away from the parent, which records it.
    deadline = time.monotonic() + TERMINATE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if not any(map(is_process_running, processes)):
            return True
        time.sleep(0.05)
    return False


def is_process_running(process: psutil.Process) -> bool:
    """Return whether a process is running; a zombie has ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def spawn_process(
    arguments: Sequence[str],
    run: Run,
    *,
    environment: Mapping[str, str] | None = None,
    working_dir: str | None = None,
    gated: bool = False,
) -> Run:
    """Start a process for a run. It outlives this one: it has its own session, and its output goes to a file.

    Args:
        arguments: command; the first one is replaced by the interpreter of this process.
        run: the run.
        environment: environment variables; None: those of this process.
        working_dir: working directory; None: that of this process.
        gated: the process begins only after the run names it, see `ftlab.runs.queue.start_gate`.

    Returns:
        The run.

    Raises:
        RunError: the folder cannot be written, or the process cannot be started.
    """
    # With the fault handler a crash inside a library leaves the Python traceback that led there in the log.
    variables = {start_gate.RUN_FOLDER_ENV: str(run.path), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if gated:
        variables[start_gate.GATE_ENV] = str(run.path)
    try:
        file_io.check_regular_file(run.log_path)
        with run.log_path.open("ab") as log:
            # A resumed run appends to the same log: the process record keeps where this process begins.
            log_offset = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [sys.executable, *arguments[1:]],
                stdin=subprocess.PIPE if gated else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=working_dir,
                env=build_environment(environment, **variables),
                **detached_popen_options(),
            )
    except OSError as cause:
        raise RunError("run.write", folder=run.path, cause=cause.strerror or cause) from cause
    name_process(run, process, log_offset, start_gate.GO_LINE if gated else b"")
    return run


def name_process(run: Run, process: subprocess.Popen[bytes], log_offset: int, first_input: bytes) -> None:
    """Let a run directory name its process, let the process begin, and record its end when it comes.

    Args:
        run: the run.
        process: it ends without a trace if its standard input is closed before anything arrives there.
        log_offset: byte of `worker.log` at which its output begins.
        first_input: what it waits for; empty if it has begun already.

    Raises:
        RunError: the folder cannot be written; the process has been ended.
    """
    try:
        with run.translate_write_errors():
            run.liveness.set_owner(process.pid, log_offset)
    except RunError:
        # Nobody would find a process that no file names, so it must not stay.
        process.kill()
        process.wait()
        raise
    if process.stdin is not None:
        with suppress(OSError):  # it has ended already
            process.stdin.write(first_input)
            process.stdin.close()
    # A daemon thread: it must not keep this process alive until the training ends.
    threading.Thread(target=lambda: run.liveness.record_exit(process.pid, process.wait()), daemon=True).start()
