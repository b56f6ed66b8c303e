"""Liveness of a run: which process trains it, whether that process is alive, and the request to stop it. No torch.

All of it is in small files of the run directory (`pid`, `heartbeat`, `process.json`, `stop`), so that any process on
the machine can ask; see `ftlab.runs.directory` for the other files.
"""

from __future__ import annotations

import os
import platform
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import psutil

from ftlab.core import file_io, json_fields
from ftlab.core.errors import RunError
from ftlab.runs import heartbeat, process_record
from ftlab.runs.events import Ended, Event, parse_event, parse_lines
from ftlab.runs.heartbeat import Heartbeat, LastBeat
from ftlab.runs.history import infer_end_event
from ftlab.runs.process_record import ProcessRecord

ACTIVE_STATUSES = ("queued", "waiting", "running", "hanging")
"""Statuses of a run on which a process works, or will as soon as it can."""
WORKING_STATUSES = ("waiting", "running", "hanging")
"""Statuses of a run on which a process works, or is about to."""
QUEUED_FILE = "queued"
"""Marker of a run that waits for its turn; see `ftlab.runs.queue`."""
DRIVER_FILE = "driver"
"""Heartbeat of the process that starts the ranks of a run on the machines of a cluster; see `ftlab.runs.cluster`."""
_STATUS_BY_REASON = {
    **dict.fromkeys(("finished", "time", "early"), "finished"),
    "stopped": "stopped",
    "failed": "failed",
}
"""Status by the reason of the end. The time limit and early stopping are planned: such a run cannot be resumed."""
_STARTUP_TIMEOUT_SECONDS = 60.0
"""Seconds after which a run that no process claimed counts as died, so that it can be resumed."""
_FORCE_STOP_MARK = "now"
"""Content of `stop` when the process is ended by force; an ordinary stop request is an empty file."""


class RunFiles(Protocol):
    """The files of a run directory as `RunLiveness` uses them.

    `ftlab.runs.directory.Run` is the implementation. It imports this module, so its name cannot be imported here.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run directory."""

    def write_json(self, file_name: str, values: dict[str, Any]) -> None:
        """Replace a JSON file atomically."""

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Return the events after a byte offset, and the offset to continue from."""

    def read_last_event(self, start_offset: int = 0) -> Event | None:
        """Return the last event at or after a byte offset."""


class RunLiveness:
    """Process, heartbeat, stop request and status of one run.

    Holds no state of its own: each question is answered from the files, so any number of objects and processes may ask.
    """

    def __init__(self, files: RunFiles) -> None:
        """Refer to the files of a run; nothing is read yet."""
        self._files = files
        self._pid_path = files.path / "pid"
        self._heartbeat_path = files.path / "heartbeat"
        self._record_path = files.path / "process.json"
        self._stop_path = files.path / "stop"
        self._driver_path = files.path / DRIVER_FILE
        self._queued_path = files.path / QUEUED_FILE

    def get_status(self) -> str:
        """Return the status of the run.

        Returns:
            `queued` (it waits for its turn), `waiting` (for its process to start), `running`, `hanging` (its process
            lives but sends no heartbeat), `finished`, `stopped`, `failed`, or `died` (it left no `Ended` event:
            `jobs.postmortem` finds the cause).
        """
        if self.is_process_alive():
            return "hanging" if self.is_hanging() else "running"
        if self.is_queued():
            return "queued"
        end_event = self.read_end_event()
        # A lost machine ends the ranks with an error, and its driver starts them again.
        if self.has_driver() and (end_event is None or end_event.reason == "failed"):
            return "waiting"
        if end_event is None:
            return "stopped" if self.is_force_stopped() else "waiting" if self._awaits_process() else "died"
        # Out of time before there was a model: what was computed is of use only if it goes on.
        if end_event.reason == "time" and end_event.best_epoch is None:
            return "stopped"
        # An end that only a newer version knows: the run can be resumed.
        return _STATUS_BY_REASON.get(end_event.reason, "stopped")

    def is_active(self) -> bool:
        """Return whether a process works on the run, or will as soon as it can."""
        return self.get_status() in ACTIVE_STATUSES

    def is_queued(self) -> bool:
        """Return whether the run waits for its turn."""
        return self._queued_path.exists()

    def is_hanging(self) -> bool:
        """Return whether the last heartbeat is too long ago."""
        last_beat = self.read_last_beat()
        return last_beat is not None and last_beat.is_hanging

    def read_end_event(self) -> Ended | None:
        """Return the `Ended` event of the last process; None while it works, and when it died without one.

        Where the log lost its last line, the event is inferred from what is left of the run.
        """
        record = self.read_process_record()
        # What is in the file up to `told` comes from an earlier process.
        event = self._files.read_last_event(0 if record is None else record.told)
        if isinstance(event, Ended):
            return event
        log_path = self._files.path / "metrics.jsonl"
        try:
            log_stat = log_path.stat()
        except OSError:
            return None
        if log_stat.st_size <= (record.told if record else 0) or self.is_process_alive():
            return None
        ended_in_order = record is not None and not self._pid_path.exists()
        return _infer_end_event(log_path, log_stat.st_size, log_stat.st_mtime_ns, ended_in_order=ended_in_order)

    def claim_ownership(self) -> None:
        """Make this process the owner of the run, unless whoever started this process has done so already.

        Raises:
            RunError: another process trains the run.
        """
        owner = self.find_process()
        if self._is_remote_alive():
            raise RunError("run.busy", run=self._files.name)
        if owner is None:
            self.set_owner(os.getpid())
        # A virtual environment's python on Windows is a launcher: the process that was started is then our parent.
        elif owner.pid not in (os.getpid(), os.getppid()):
            raise RunError("run.busy", run=self._files.name)

    def set_owner(self, pid: int, log_offset: int = 0) -> None:
        """Record the process that trains the run.

        An older stop request and an older `Ended` event no longer count, and the silence is measured from now.

        Args:
            pid: process ID.
            log_offset: byte of `worker.log` at which the output of this process begins.
        """
        self.clear_stop()
        # Before `pid` names the new process: else the old heartbeat would make it look as if it hangs.
        Heartbeat(self._heartbeat_path, pid).beat()
        event_offset = self._files.read_events()[1]
        record = process_record.record_start(self._record_path, pid, log_offset, event_offset)
        # The start time identifies the process: the system gives the number of a dead process to a new one.
        self._files.write_json("pid", {"pid": pid, "created": record.created, "host": platform.node()})

    def release_ownership(self) -> None:
        """End the ownership of this process."""
        self._pid_path.unlink(missing_ok=True)

    def find_process(self) -> psutil.Process | None:
        """Return the process named in `pid`; None when it is gone, elsewhere, or another one has its number."""
        try:
            owner = json_fields.read_json_object(self._pid_path)
            if owner.get("host", platform.node()) != platform.node():
                return None
            return process_record.find_process(owner["pid"], owner["created"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_process_alive(self) -> bool:
        """Return whether the process named in `pid` is still running; on another machine, as its heartbeat says."""
        return self.find_process() is not None or self._is_remote_alive()

    def _is_remote_alive(self) -> bool:
        """Return whether `pid` names a process of another machine that has not been silent for too long."""
        try:
            host = json_fields.read_json_object(self._pid_path).get("host", platform.node())
        except (OSError, ValueError):
            return False
        return host != platform.node() and self.read_last_beat() is not None and not self.is_hanging()

    def create_driver_heartbeat(self) -> Heartbeat:
        """Return a heartbeat for the process that starts the ranks of the run on a cluster."""
        return Heartbeat(self._driver_path)

    def has_driver(self) -> bool:
        """Return whether a process on a cluster starts the ranks of the run, or will soon."""
        last_beat = heartbeat.read_last_beat(self._driver_path)
        return last_beat is not None and not last_beat.is_hanging

    def names_driver(self) -> bool:
        """Return whether a process on a cluster has, or had, the ranks of the run to start, however silent it is."""
        return self._driver_path.exists()

    def end_driver(self) -> None:
        """Record that no process on a cluster starts ranks of the run any more."""
        self._driver_path.unlink(missing_ok=True)

    def read_process_record(self) -> ProcessRecord | None:
        """Return the record of the last process that owned the run."""
        return process_record.read_record(self._record_path)

    def record_exit(self, pid: int, exit_code: int) -> None:
        """Record how a process ended, unless another one owns the run by now.

        Args:
            pid: process ID.
            exit_code: exit status, below 0 the number of the signal that ended it.
        """
        process_record.record_exit(self._record_path, pid, exit_code)

    def create_heartbeat(self) -> Heartbeat:
        """Return a heartbeat for the process that trains the run: its `beat` says that the work goes on."""
        return Heartbeat(self._heartbeat_path)

    def read_last_beat(self) -> LastBeat | None:
        """Return the last heartbeat of the process; None where there never was one."""
        return heartbeat.read_last_beat(self._heartbeat_path)

    def request_stop(self) -> None:
        """Ask the process to end at its next step."""
        if not self.is_stop_requested():  # the file's date is the time of the first request: see below
            self._stop_path.touch()

    def mark_force_stop(self) -> None:
        """Record that the process is ended by force, at the user's request."""
        # Put in its place, not written into: it could be a pipe, whose writer waits for a reader.
        with file_io.atomic_write(self._stop_path) as part_path:
            part_path.write_text(_FORCE_STOP_MARK, encoding="utf-8")

    def is_stop_requested(self) -> bool:
        """Return whether the process was asked to stop, or is ended by force."""
        return self._stop_path.exists()

    def is_force_stopped(self) -> bool:
        """Return whether the process was ended by force, at the user's request."""
        try:
            return file_io.read_regular_file(self._stop_path) == _FORCE_STOP_MARK.encode()
        except OSError:
            return False

    def seconds_since_stop_request(self) -> float:
        """Return the seconds since the stop request, or since the process was ended by force; 0 without a request."""
        try:
            return max(0.0, time.time() - self._stop_path.stat().st_mtime)
        except OSError:
            return 0.0

    def clear_stop(self) -> None:
        """Withdraw the stop request."""
        self._stop_path.unlink(missing_ok=True)

    def _awaits_process(self) -> bool:
        """Return whether no process has touched the run yet, and one may still come."""
        if self._pid_path.exists() or (self._files.path / "metrics.jsonl").exists():
            return False
        try:
            return time.time() - (self._files.path / "config.json").stat().st_mtime < _STARTUP_TIMEOUT_SECONDS
        except OSError:
            return False


# The whole log is read, and a listing asks every few seconds: size and time of change are the key.
@lru_cache(maxsize=256)
def _infer_end_event(log_path: Path, _size_bytes: int, _mtime_ns: int, *, ended_in_order: bool) -> Ended | None:
    """Return the `Ended` event that a log without one ended with, as far as it can be told (see `infer_end_event`)."""
    try:
        log = file_io.read_regular_file(log_path)
    except OSError:
        return None
    last_line = log.removesuffix(b"\n").rpartition(b"\n")[2].decode("utf-8", "replace")
    torn_line = last_line if parse_event(last_line) is None else ""
    return infer_end_event(parse_lines(log), torn_line, ended_in_order=ended_in_order)
