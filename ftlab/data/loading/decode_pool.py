"""Files decoded ahead, by processes or by threads. No torch.

Each small call of Pillow's takes the interpreter's lock anew: sixteen threads wake each other for it, and together read
fewer pictures than one. A process has a lock of its own; it takes a fifth of a second to start, and memory.

Such a process is this module: `_serve`. It is asked for files by a line of JSON on its standard input, and answers on
its standard output: a line that says what it found, then the bare pixels, which the parent reads to where they stay. No
pickle, and no shared memory, of which a container may have none. The parent's program is not imported again, and torch
with it, as by `multiprocessing`. However the parent ends, its pipes do too, and so does who listens to them.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, cast

import numpy as np

from ftlab.core.errors import PictureError
from ftlab.data.images import decode
from ftlab.data.images.decode import Pixels

_PIPE = 1 << 20
"""Bytes that may wait in a pipe, where the system can be asked: most pictures then take the lock once or twice."""

_CHUNK = 4
"""Files of a task."""

_log = logging.getLogger(__name__)

_CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from ftlab.data.loading import decode_pool; decode_pool._serve(int(sys.argv[1]))"
)

_Process = subprocess.Popen[bytes]


class Decoders:
    """Files decoded ahead, by `count` processes or threads, while the context is open. At its end all processes are
    ended, and what they are at is cancelled, like what has not begun.

    Where a process cannot be started, or dies (the system wants its memory, a decoder crashes, it has a bug), a thread
    reads its files instead, from these on: nothing is lost, the log says it once, and a bug is raised here.

    Args:
        count: files that are read at a time.
        at_least: pixels, as `decode.read` has it.
        processes: whether by processes.
    """

    def __init__(self, count: int, at_least: int, *, processes: bool) -> None:
        self._count, self._at_least, self._processes = count, at_least, processes
        self._threads = ThreadPoolExecutor(count, "decode")  # one waits for each process
        self._started: list[_Process] = []
        self._idle: deque[_Process | None] = deque()
        self._begun = self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._started:
            process.kill()
        self._threads.shutdown()
        for process in self._started:
            process.communicate()  # closes the pipes and waits

    def submit(self, files: Sequence[Path]) -> Future[list[Pixels | PictureError]]:
        """For each file, in order: its pixels, uint8 [H, W, 3], or why it cannot be read."""
        with self._lock:
            if not self._begun:
                self._begin()
        return self._threads.submit(self._read, list(files))

    def each(self, files: Sequence[Path]) -> list[tuple[Future[list[Pixels | PictureError]], int]]:
        """For each file, in order: the task that reads it with some others, and its place in what that gives."""
        chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
        tasks = [(self.submit(some), len(some)) for some in chunks]
        return [(task, place) for task, count in tasks for place in range(count)]

    def _begin(self) -> None:
        """With the first files, for often all pictures are kept from before, and nobody asks."""
        self._begun = True
        try:
            while self._processes and len(self._started) < self._count:
                self._started.append(_start(self._at_least))
        except OSError as cause:
            _log.warning("pictures are decoded by threads: %s", cause)
        self._idle.extend([*self._started, *[None] * (self._count - len(self._started))])  # one for each thread

    def _read(self, files: list[Path]) -> list[Pixels | PictureError]:
        process, sound = self._idle.popleft(), None
        try:
            with suppress(OSError, EOFError, ValueError):  # it is dead, or talks nonsense
                if process:
                    found = _ask(process, files)
                    sound = process
                    return found
        finally:
            self._idle.append(sound)
            if process and not sound and not self._closed:
                _log.warning("a process that decodes pictures is gone (%s), a thread goes on", process.poll())
        if self._closed and self._processes:
            raise CancelledError
        return [_read(file, self._at_least) for file in files]


def _read(file: Path | str, at_least: int) -> Pixels | PictureError:
    try:
        return decode.read(file, at_least=at_least)
    except PictureError as refusal:
        return refusal


def _start(at_least: int) -> _Process:
    """A process that serves, and that Ctrl-C is not sent to.

    Raises:
        OSError: the system starts no more.
    """
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    words = [sys.executable, "-c", _CODE, str(at_least), *sys.path]
    # NumPy would start a thread for each core, in each process, and never use them.
    own = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own, **apart)
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # this user has too much already in pipes
            fcntl.fcntl(cast(BufferedReader, process.stdout), fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _ask(process: _Process, files: list[Path]) -> list[Pixels | PictureError]:
    """What a process makes of files.

    Raises:
        OSError, EOFError: it is dead.
        ValueError: it talks nonsense.
    """
    asked, told = cast(BufferedWriter, process.stdin), cast(BufferedReader, process.stdout)
    asked.write(json.dumps([os.fspath(file) for file in files]).encode() + b"\n")
    asked.flush()
    line = told.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    found: list[Pixels | PictureError] = []
    for first, second in json.loads(line):
        if isinstance(first, str):
            found.append(PictureError(first, **second))
        else:
            pixels = np.empty((first, second, 3), np.uint8)
            if told.readinto(pixels.data) < pixels.nbytes:
                raise EOFError
            found.append(pixels)
    return found


def _serve(at_least: int) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library may print
    with suppress(BrokenPipeError):  # nobody listens
        for line in sys.stdin.buffer:
            found = [_read(file, at_least) for file in json.loads(line)]
            heads = [(one.code, one.values) if isinstance(one, PictureError) else one.shape[:2] for one in found]
            told.write(json.dumps(heads).encode() + b"\n")
            for one in found:
                if not isinstance(one, PictureError):
                    told.write(one.data)
            told.flush()
    os._exit(0)  # without a word about what can no longer be written
