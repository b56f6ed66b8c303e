"""Signs of life: a training that works beats, whoever watches it reads how long it has been silent. No torch."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import psutil

from ftlab.core import machine

HEARTBEAT_INTERVAL_SECONDS = 1.0
"""Seconds between two beats that are written down; those in between cost nothing."""
HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_STEP_FACTOR = 120.0, 10.0
"""A training hangs when it is silent for longer than so many seconds, and than so many of its longest recent steps."""
_RECENT_STEP_COUNT = 50
"""Steps among which the longest is looked for."""
_HEARTBEAT_FILE_BYTES = 256
"""Bytes of the file."""


class Heartbeat:
    """The heart of one training process. When several processes train one run, each may beat.

    Args:
        file: where the beats are written.
        pid: of the process, this one if not given.
    """

    def __init__(self, path: Path, pid: int | None = None) -> None:
        self._path, self._pid = path, pid
        self._step_seconds: deque[float] = deque(maxlen=_RECENT_STEP_COUNT)
        self._last_write_time = -math.inf

    def beat(self, step_seconds: float | None = None) -> None:
        """Say that work goes on; to be called whenever a step, a batch, a piece of a download is done.

        Args:
            step_seconds: how long the step took that was just done, where it was one.

        Never raises over the file: a sign of life that cannot be written ends no training.
        """
        if step_seconds is not None:
            self._step_seconds.append(step_seconds)
        now = machine.read_awake_clock()
        if now - self._last_write_time >= HEARTBEAT_INTERVAL_SECONDS:
            self._last_write_time = now
            longest_step, memory_bytes = max(self._step_seconds, default=0.0), self._read_memory_bytes()
            overwrite_json(self._path, {"awake": now, "time": time.time(), "step": longest_step, "memory": memory_bytes}, _HEARTBEAT_FILE_BYTES)

    def _read_memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self._pid).memory_info().rss)
        except psutil.Error:  # a process that is gone already holds none
            return 0


@dataclass(frozen=True)
class LastBeat:
    """What was heard last.

    Attributes:
        silence_seconds: seconds since the last beat in which the machine was awake.
        time: seconds since 1970 at the last beat.
        longest_step_seconds: the longest recent step in seconds, 0 where none was measured yet.
        memory_bytes: bytes of memory that the process held.
    """

    silence_seconds: float
    time: float
    longest_step_seconds: float
    memory_bytes: int

    @property
    def is_hanging(self) -> bool:
        return self.silence_seconds > max(HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_STEP_FACTOR * self.longest_step_seconds)


def read_last_beat(path: Path) -> LastBeat | None:
    """The last beat; None where none can be read."""
    try:
        values = json.loads(path.read_bytes())
        silence_seconds = max(0.0, machine.read_awake_clock() - float(values["awake"]))
        return LastBeat(silence_seconds, float(values["time"]), float(values["step"]), int(values["memory"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def overwrite_json(path: Path, values: dict[str, object], reserved_bytes: int) -> bool:
    """Write values over what stands in a file of `reserved_bytes` bytes, as JSON; whether that could be done.

    No room is asked of the disk where the file is there already and the values fit in it, so this works on a full disk
    too. A reader may, once in a very long while, meet half of it, which is no JSON.
    """
    data = json.dumps(values).encode().ljust(reserved_bytes)
    try:
        # Without O_TRUNC: what a file gives up on a full disk it does not get back.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.write(descriptor, data)
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
