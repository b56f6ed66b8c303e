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

EVERY = 1.0
"""Seconds between two beats that are written down; those in between cost nothing."""
SILENT, TIMES = 120.0, 10.0
"""A training hangs when it is silent for longer than so many seconds, and than so many of its longest recent steps."""
_RECENT = 50
"""Steps among which the longest is looked for."""
_ROOM = 256
"""Bytes of the file."""


class Heart:
    """The heart of one training process. When several processes train one run, each may beat.

    Args:
        file: where the beats are written.
        pid: of the process, this one if not given.
    """

    def __init__(self, file: Path, pid: int | None = None) -> None:
        self._file, self._pid = file, pid
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._told = -math.inf

    def beat(self, step_seconds: float | None = None) -> None:
        """Say that work goes on; to be called whenever a step, a batch, a piece of a download is done.

        Args:
            step_seconds: how long the step took that was just done, where it was one.

        Never raises over the file: a sign of life that cannot be written ends no training.
        """
        if step_seconds is not None:
            self._steps.append(step_seconds)
        now = machine.awake()
        if now - self._told >= EVERY:
            self._told = now
            step, memory = max(self._steps, default=0.0), self._memory()
            overwrite(self._file, {"awake": now, "time": time.time(), "step": step, "memory": memory}, _ROOM)

    def _memory(self) -> int:
        try:
            return int(psutil.Process(self._pid).memory_info().rss)
        except psutil.Error:  # a process that is gone already holds none
            return 0


@dataclass(frozen=True)
class Pulse:
    """What was heard last.

    Attributes:
        silence: seconds since the last beat in which the machine was awake.
        time: seconds since 1970 at the last beat.
        step: the longest recent step in seconds, 0 where none was measured yet.
        memory: bytes of memory that the process held.
    """

    silence: float
    time: float
    step: float
    memory: int

    @property
    def hanging(self) -> bool:
        return self.silence > max(SILENT, TIMES * self.step)


def pulse(file: Path) -> Pulse | None:
    """The last beat; None where none can be read."""
    try:
        beat = json.loads(file.read_bytes())
        silence = max(0.0, machine.awake() - float(beat["awake"]))
        return Pulse(silence, float(beat["time"]), float(beat["step"]), int(beat["memory"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def overwrite(file: Path, values: dict[str, object], room: int) -> bool:
    """Write values over what stands in a file of `room` bytes, as JSON; whether that could be done.

    No room is asked of the disk where the file is there already and the values fit in it, so this works on a full disk
    too. A reader may, once in a very long while, meet half of it, which is no JSON.
    """
    text = json.dumps(values).encode().ljust(room)
    try:
        # Without O_TRUNC: what a file gives up on a full disk it does not get back.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.write(handle, text)
            os.ftruncate(handle, len(text))
        finally:
            os.close(handle)
    except OSError:
        return False
    return True
