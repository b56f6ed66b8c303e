"""Heartbeat file: written by a working training process; observers read how long it has been silent. No torch."""

from __future__ import annotations

import json
import math
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ftlab.core import json_fields, machine

HEARTBEAT_INTERVAL_SECONDS = 1.0
"""Minimum seconds between two writes; beats in between cost only the reading of a clock."""
HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_STEP_FACTOR = 120.0, 10.0
"""A training hangs when it is silent for longer than this many seconds, and for longer than this many times its longest
recent step: slow steps, as of a large model on a CPU, are no silence."""
_RECENT_STEP_COUNT = 50
"""Number of recent steps of which the longest counts: one slow first step (compilation) is forgotten after them."""
_HOST_NAME = platform.node()
_HEARTBEAT_FILE_BYTES = 256
"""Size of the file in bytes: the JSON is padded to it with spaces."""


class Heartbeat:
    """Writer of the heartbeat file of one run. When several processes train it, each may beat."""

    def __init__(self, path: Path, pid: int | None = None) -> None:
        """Prepare the writer; the file is written by the first `beat`.

        Args:
            path: the heartbeat file.
            pid: ID of the process whose memory is recorded; this process if not given.
        """
        self._path, self._pid = path, pid
        self._step_seconds: deque[float] = deque(maxlen=_RECENT_STEP_COUNT)
        self._last_write_time = -math.inf

    def beat(self, step_seconds: float | None = None) -> None:
        """Record that work goes on. To be called whenever a step, a batch or a part of a download is done.

        Never raises over the file: a heartbeat that cannot be written must not end a training.

        Args:
            step_seconds: duration of the optimizer step that was just done; None after other work.
        """
        if step_seconds is not None:
            self._step_seconds.append(step_seconds)
        now = machine.read_awake_clock()
        if now - self._last_write_time >= HEARTBEAT_INTERVAL_SECONDS:
            self._last_write_time = now
            longest_step, memory_bytes = max(self._step_seconds, default=0.0), self._read_memory_bytes()
            overwrite_json(
                self._path,
                {"awake": now, "time": time.time(), "step": longest_step, "memory": memory_bytes, "host": _HOST_NAME},
                _HEARTBEAT_FILE_BYTES,
            )

    @contextmanager
    def beat_during(self, max_seconds: float) -> Iterator[None]:
        """Beat from a thread within the block: an import or a compilation takes minutes, in which nobody else beats.

        Only for work that cannot beat by itself. A block that hangs is silent again after `max_seconds`.

        Args:
            max_seconds: seconds that the block may take.
        """
        stop_event, end_time = threading.Event(), time.monotonic() + max_seconds

        def beat_until_stopped() -> None:
            self.beat()
            while not stop_event.wait(HEARTBEAT_INTERVAL_SECONDS) and time.monotonic() < end_time:
                self.beat()

        thread = threading.Thread(target=beat_until_stopped, name="heart", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop_event.set()
            thread.join()

    def _read_memory_bytes(self) -> int:
        """Return the resident memory of the process in bytes."""
        try:
            return int(psutil.Process(self._pid).memory_info().rss)
        except psutil.Error:  # the process is gone already
            return 0


@dataclass(frozen=True)
class LastBeat:
    """The last heartbeat of a process.

    Attributes:
        silence_seconds: seconds since the last beat, without the time in which the machine was suspended; of another
            machine, by the clocks of both.
        time: time of the last beat in seconds since 1970.
        longest_step_seconds: the longest recent step in seconds; 0 where none was measured yet.
        memory_bytes: resident memory of the process in bytes.
    """

    silence_seconds: float
    time: float
    longest_step_seconds: float
    memory_bytes: int

    @property
    def is_hanging(self) -> bool:
        """Return whether the process has been silent for too long."""
        return self.silence_seconds > max(
            HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_STEP_FACTOR * self.longest_step_seconds
        )


def read_last_beat(path: Path) -> LastBeat | None:
    """Return the last heartbeat in a file; None where it cannot be read."""
    try:
        values = json_fields.read_json_object(path)
        # Never negative: after a reboot the clock of the machine starts again from 0.
        beat_time, is_local = float(values["time"]), values.get("host", _HOST_NAME) == _HOST_NAME
        silence_seconds = machine.read_awake_clock() - float(values["awake"]) if is_local else time.time() - beat_time
        return LastBeat(max(0.0, silence_seconds), beat_time, float(values["step"]), int(values["memory"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):  # OverflowError: an infinite number of bytes
        return None


def overwrite_json(path: Path, values: dict[str, object], reserved_bytes: int) -> bool:
    """Overwrite a JSON file of fixed size in place, which works on a full disk too.

    An existing file of this size needs no new space. The write is not atomic: very rarely a reader meets half of it,
    which is not valid JSON.

    Args:
        path: the file; created where it does not exist.
        values: its new content.
        reserved_bytes: size to which the JSON is padded with spaces.

    Returns:
        Whether the file could be written.
    """
    data = json.dumps(values).encode().ljust(reserved_bytes)
    try:
        # Without O_TRUNC: blocks that a file gives up on a full disk it may not get back.
        # O_NONBLOCK: a pipe in its place is an error, and is not waited for.
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, flags, 0o666)
        try:
            os.write(descriptor, data)
            # The content before may have been longer.
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
