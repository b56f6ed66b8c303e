"""What is known of the process that trains a run: which it is, since when, and how it ended if it could not say so."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ftlab.core import machine
from ftlab.runs.heartbeat import overwrite_json

_RECORD_FILE_BYTES = 1024
"""Bytes of the file. They are taken when the process starts: at its end the disk may be full."""


@dataclass(frozen=True)
class ProcessRecord:
    """The last process of a run.

    Attributes:
        pid, created: which it is; `created` as `machine.born` gives it.
        since: seconds since 1970 when the run was handed to it.
        log, told: byte of `worker.log` at which its own output begins, and of `metrics.jsonl` for its events.
        counter, kills: the file that counts processes ended for want of memory, and what it told at the start.
        code: exit status, below 0 the number of the signal that ended it; None while it works, and where nobody saw.
        starved: whether the system ended processes for want of memory while it worked; None where that is not told.
        free: bytes that were free on the run's disk at its end.
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
        """Whether the system has ended processes for want of memory since it started; None where that is not told."""
        kill_count = machine.read_oom_kills(self.counter) if self.counter else None
        return None if kill_count is None or self.kills is None else kill_count > self.kills


def record_start(file: Path, pid: int, log_offset: int, event_offset: int) -> ProcessRecord:
    """Write down the process that a run is handed to; see `ProcessRecord`."""
    try:
        created = machine.get_process_start_time(psutil.Process(pid))
    except psutil.Error:  # it did not even live until now
        created = 0.0
    counter_file = machine.find_oom_counter(pid)
    record = ProcessRecord(pid, created, time.time(), log_offset, event_offset, counter_file, machine.read_oom_kills(counter_file) if counter_file else None)
    overwrite_json(file, dataclasses.asdict(record), _RECORD_FILE_BYTES)
    return record


def record_exit(file: Path, pid: int, exit_code: int) -> None:
    """Write down how it ended, unless the run was handed to another one by now."""
    record = read_record(file)
    if record is not None and record.pid == pid:
        exit_record = dataclasses.replace(record, code=exit_code, starved=record.detect_oom_kills(), free=try_get_free_bytes(file.parent))
        overwrite_json(file, dataclasses.asdict(exit_record), _RECORD_FILE_BYTES)


def read_record(file: Path) -> ProcessRecord | None:
    """The last process; None where none was written down."""
    try:
        values: dict[str, Any] = dict(json.loads(file.read_bytes()))
        field_names = {field.name for field in dataclasses.fields(ProcessRecord)}
        return ProcessRecord(**{key: value for key, value in values.items() if key in field_names})
    except (OSError, ValueError, TypeError):
        return None


def find_process(pid: Any, created: Any) -> psutil.Process | None:
    """The living process of that number and birth; None when it is gone, or another one has its number by now."""
    try:
        process = psutil.Process(pid)
        is_same = abs(machine.get_process_start_time(process) - created) < 1.0
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (ValueError, TypeError, psutil.Error):
        return None


def try_get_free_bytes(folder: Path) -> int | None:
    """Bytes that are free on the disk of a folder; None where it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
