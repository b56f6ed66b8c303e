"""Record of the process that trains a run (`process.json`): identity, start, and its end if it left no event."""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ftlab.core import json_fields, machine
from ftlab.runs.heartbeat import overwrite_json

_RECORD_FILE_BYTES = 1024
"""Size of the file in bytes, allocated when the process starts: at its end the disk may be full."""


@dataclass(frozen=True)
class ProcessRecord:
    """The last process of a run. The field names are the keys of `process.json`.

    Attributes:
        pid: process ID.
        created: start time as `machine.get_process_start_time` returns it; with `pid` it identifies the process.
        since: time at which the process became the owner of the run, in seconds since 1970.
        log: byte of `worker.log` at which its output begins.
        told: byte of `metrics.jsonl` at which its events begin.
        counter: file in which the kernel counts out-of-memory kills; empty where there is none.
        kills: value of that counter at the start.
        code: exit status, below 0 the number of the signal that ended it; None while it works, and where nobody saw it.
        starved: whether the system killed processes for lack of memory while it worked; None where that is not known.
        free: bytes free on the disk of the run at its end.
    """

    pid: int
    created: float
    since: float
    log: int = 0
    told: int = 0
    counter: str = ""
    kills: int | None = None
    code: int | None = None
    starved: bool | None = None
    free: int | None = None

    def detect_oom_kills(self) -> bool | None:
        """Return whether the system has killed processes for lack of memory since the start; None if not known."""
        kill_count = machine.read_oom_kills(self.counter) if self.counter else None
        return None if kill_count is None or self.kills is None else kill_count > self.kills


def record_start(file: Path, pid: int, log_offset: int, event_offset: int) -> ProcessRecord:
    """Record the process that becomes the owner of a run.

    Args:
        file: `process.json` of the run.
        pid: process ID.
        log_offset: byte of `worker.log` at which its output begins.
        event_offset: byte of `metrics.jsonl` at which its events begin.

    Returns:
        The record as written.
    """
    try:
        created = machine.get_process_start_time(psutil.Process(pid))
    except psutil.Error:  # it has ended already; no living process has this start time
        created = 0.0
    counter_file = machine.find_oom_counter(pid)
    record = ProcessRecord(
        pid,
        created,
        time.time(),
        log_offset,
        event_offset,
        counter_file,
        machine.read_oom_kills(counter_file) if counter_file else None,
    )
    overwrite_json(file, dataclasses.asdict(record), _RECORD_FILE_BYTES)
    return record


def record_exit(file: Path, pid: int, exit_code: int) -> None:
    """Record how a process ended, unless another one owns the run by now.

    Args:
        file: `process.json` of the run.
        pid: process ID.
        exit_code: exit status, below 0 the number of the signal that ended it.
    """
    record = read_record(file)
    if record is not None and record.pid == pid:
        exit_record = dataclasses.replace(
            record, code=exit_code, starved=record.detect_oom_kills(), free=try_get_free_bytes(file.parent)
        )
        overwrite_json(file, dataclasses.asdict(exit_record), _RECORD_FILE_BYTES)


def read_record(file: Path) -> ProcessRecord | None:
    """Return the record of the last process; None where there is none or it cannot be read."""
    try:
        record = json_fields.build_dataclass(ProcessRecord, json_fields.read_json_object(file))
        return record if min(record.log, record.told) >= 0 else None
    except (OSError, ValueError, TypeError):
        return None


def find_process(pid: Any, created: Any) -> psutil.Process | None:
    """Return the living process with a process ID and start time.

    Args:
        pid: process ID, as read from a file: a value of the wrong type finds no process.
        created: start time as `machine.get_process_start_time` returned it.

    Returns:
        The process; None when it is gone, or another one has its ID by now.
    """
    try:
        process = psutil.Process(pid)
        # Start times are rounded to clock ticks, so they are not compared exactly. A zombie has ended: only its parent
        # has not collected its exit status yet.
        is_same = abs(machine.get_process_start_time(process) - created) < 1.0
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (ValueError, TypeError, psutil.Error):
        return None


def try_get_free_bytes(folder: Path) -> int | None:
    """Return the free bytes on the disk of a folder; None where the system does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
