"""The marker of a queued run: the file `queued` in its directory. Whoever removes the file may train the run."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ftlab.core import file_io, json_fields, machine
from ftlab.core.errors import RunError
from ftlab.runs import process_record, run_quota
from ftlab.runs.cluster.address import CLUSTER_ENV
from ftlab.runs.directory import Run
from ftlab.runs.liveness import QUEUED_FILE

ANY_DEVICE = "auto"
"""Device of a run that takes whichever is best: it may be any."""
DECLARED_VARIABLES = (
    *("FTLAB_RUN_QUOTA_BYTES", "FTLAB_ALL_RUNS_QUOTA_BYTES", "FTLAB_VISITOR_RUNS_QUOTA_BYTES"),
    *("FTLAB_PRIVATE_FOLDERS", "FTLAB_REFUSE_LINKS", "FTLAB_HOME", "FTLAB_LANGUAGE", "FTLAB_FEATURES_MB"),
    CLUSTER_ENV,
)
"""Environment variables that a server declares for its trainings: whichever process starts one, they hold for it."""
_WAITER_TIMEOUT_SECONDS = 15.0
"""Seconds without a sign of the process that waits for its turn, after which others are not held up by it."""


@dataclass(frozen=True)
class QueueMarker:
    """Content of the marker. The field names are the keys of the JSON.

    Attributes:
        time: when the run was queued, in seconds since 1970.
        owner: whose run it is, as `run_quota.make_owner` returns it.
        device: the device that it asks for, as in the configuration.
        seconds: how long it will probably take; None if that is not known.
        resumes: it goes on from its checkpoint.
        is_pausable: it stays where it waits while the queue is held, see `ftlab.runs.queue.queue_pause`.
        launches: how often a process was started for it that has not begun.
        waiter_pid: ID of the process that waits for its turn and trains it then; 0: a process is started for it.
        waiter_created: start time of that process, as `machine.get_process_start_time` returns it.
        environment: the declared environment variables at that time.
        working_dir: the working directory at that time, for relative paths; empty: that of whoever starts the process.
    """

    time: float
    owner: str = ""
    device: str = ANY_DEVICE
    seconds: float | None = None
    resumes: bool = False
    is_pausable: bool = False
    launches: int = 0
    waiter_pid: int = 0
    waiter_created: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""

    @property
    def is_for_cluster(self) -> bool:
        """True if the run is to be trained on a cluster, whose scheduler decides when and where."""
        return bool(self.environment.get(CLUSTER_ENV))

    def is_waiter_alive(self) -> bool:
        """Return whether the process that waits is alive."""
        return self.waiter_pid > 0 and process_record.find_process(self.waiter_pid, self.waiter_created) is not None


def make_marker(
    device: str,
    owner: str,
    *,
    seconds: float | None = None,
    resumes: bool = False,
    is_pausable: bool = False,
    waits_here: bool = False,
) -> QueueMarker:
    """Return the marker of a run that is queued now.

    Args:
        device: that it asks for.
        owner: whose run it is.
        seconds: how long it will probably take.
        resumes: it goes on from its checkpoint.
        is_pausable: a pause of the queue binds it.
        waits_here: this process waits for its turn, and trains it then.
    """
    environment = {name: os.environ[name] for name in DECLARED_VARIABLES if name in os.environ}
    marker = QueueMarker(
        time.time(),
        owner,
        device,
        seconds,
        resumes,
        is_pausable,
        environment=environment,
        working_dir=_get_working_dir(),
    )
    if not waits_here:
        return marker
    created = machine.get_process_start_time(psutil.Process())
    return dataclasses.replace(marker, waiter_pid=os.getpid(), waiter_created=created)


def _get_working_dir() -> str:
    """Return the working directory; empty where it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def build_job_environment(marker: QueueMarker) -> dict[str, str]:
    """Return the environment of this process, with the variables that were declared when the run was queued."""
    inherited = {name: value for name, value in os.environ.items() if name not in DECLARED_VARIABLES}
    return {**inherited, **marker.environment}


def write_marker(run: Run, marker: QueueMarker) -> None:
    """Queue a run, or replace its marker; a `RunError` says that the folder cannot be written.

    Args:
        run: the run.
        marker: its content.
    """
    run.write_json(QUEUED_FILE, dataclasses.asdict(marker))


def read_marker(run: Run) -> QueueMarker | None:
    """Return the marker of a run; None if it is not queued.

    A damaged marker loses no run: what it said is derived from the rest of the directory.
    """
    path = run.path / QUEUED_FILE
    try:
        queued_time = path.stat().st_mtime
    except OSError:
        return None
    try:
        marker = json_fields.build_dataclass(QueueMarker, json_fields.read_json_object(path))
        environment = marker.environment
        if all(name in DECLARED_VARIABLES and isinstance(value, str) for name, value in environment.items()):
            return marker
    except (OSError, ValueError, TypeError):
        if not path.exists():  # taken in the meantime
            return None
    has_begun = (run.path / "metrics.jsonl").exists()
    owner = run_quota.read_owner(run)
    # Only visitors have an owner; whether a teacher queued it is not known any more.
    return QueueMarker(queued_time, owner, read_device(run), resumes=has_begun, is_pausable=bool(owner))


def remove_marker(run: Run) -> bool:
    """Take a run out of the queue.

    Returns:
        Whether this call did it: of several processes, only one can.

    Raises:
        PermissionError: the folder cannot be written.
    """
    deadline = time.monotonic() + file_io.MOVE_RETRY_SECONDS
    while True:
        try:
            (run.path / QUEUED_FILE).unlink()
        except FileNotFoundError:
            return False
        except PermissionError:
            # Windows does not remove a file while somebody reads it; elsewhere waiting cannot help.
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return True


def show_waiter(run: Run) -> None:
    """Say that the process that waits for its turn is still there."""
    path = run.path / QUEUED_FILE
    if path.exists():
        os.utime(path)


def is_waiter_silent(run: Run) -> bool:
    """Return whether the process that waits for its turn has said nothing for long, as if it was suspended."""
    try:
        return time.time() - (run.path / QUEUED_FILE).stat().st_mtime > _WAITER_TIMEOUT_SECONDS
    except OSError:
        return False


def read_device(run: Run) -> str:
    """Return the device that the configuration of a run asks for; any, if it cannot be read."""
    try:
        return str(run.read_config_file()["config"].get("device", ANY_DEVICE))
    except RunError:
        return ANY_DEVICE


def list_queued(root: Path, run_names: list[str]) -> list[tuple[Run, QueueMarker]]:
    """Return the queued runs and their markers.

    Args:
        root: folder of all runs.
        run_names: names of all runs.

    Returns:
        Runs in no particular order.
    """
    queued = []
    for name in run_names:
        # Text, not `Path`: a folder of a thousand runs is looked through several times a second.
        if os.path.exists(os.path.join(root, name, QUEUED_FILE)):  # noqa: PTH110, PTH118
            run = Run(root / name)
            marker = read_marker(run)
            if marker is not None:
                queued.append((run, marker))
    return queued
