"""Files decoded ahead, by processes or by threads. No torch.

Each small call of Pillow's takes the interpreter's lock anew: sixteen threads wake each other for it, and together read
fewer pictures than one. A process has a lock of its own; it takes a fifth of a second to start, and memory.

Such a process is this module: `serve_requests`. It is asked for files by a line of JSON on its standard input, and answers on
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

from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray

_PIPE_BUFFER_BYTES = 1 << 20
"""Bytes that may wait in a pipe, where the system can be asked: most pictures then take the lock once or twice."""

_FILES_PER_TASK = 4
"""Files of a task."""

_log = logging.getLogger(__name__)

WORKER_CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from ftlab.data.loading import decode_pool; decode_pool.serve_requests(int(sys.argv[1]))"
)

_WorkerProcess = subprocess.Popen[bytes]


class DecodePool:
    """Files decoded ahead, by `count` processes or threads, while the context is open. At its end all processes are
    ended, and what they are at is cancelled, like what has not begun.

    Where a process cannot be started, or dies (the system wants its memory, a decoder crashes, it has a bug), a thread
    reads its files instead, from these on: nothing is lost, the log says it once, and a bug is raised here.

    Args:
        count: files that are read at a time.
        at_least: pixels, as `decode.read` has it.
        processes: whether by processes.
    """

    def __init__(self, num_workers: int, min_side: int, *, use_processes: bool) -> None:
        self._num_workers, self._min_side, self._use_processes = num_workers, min_side, use_processes
        self._executor = ThreadPoolExecutor(num_workers, "decode")  # one waits for each process
        self.worker_processes: list[_WorkerProcess] = []
        self._idle_processes: deque[_WorkerProcess | None] = deque()
        self._is_started = self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self.worker_processes:
            process.kill()
        self._executor.shutdown()
        for process in self.worker_processes:
            process.communicate()  # closes the pipes and waits

    def submit(self, files: Sequence[Path]) -> Future[list[ImageArray | ImageError]]:
        """For each file, in order: its pixels, uint8 [H, W, 3], or why it cannot be read."""
        with self._lock:
            if not self._is_started:
                self._start_processes()
        return self._executor.submit(self._decode_files, list(files))

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """For each file, in order: the task that reads it with some others, and its place in what that gives."""
        chunks = [files[start : start + _FILES_PER_TASK] for start in range(0, len(files), _FILES_PER_TASK)]
        tasks = [(self.submit(chunk), len(chunk)) for chunk in chunks]
        return [(task, position) for task, count in tasks for position in range(count)]

    def _start_processes(self) -> None:
        """With the first files, for often all pictures are kept from before, and nobody asks."""
        self._is_started = True
        try:
            while self._use_processes and len(self.worker_processes) < self._num_workers:
                self.worker_processes.append(_start_process(self._min_side))
        except OSError as cause:
            _log.warning("pictures are decoded by threads: %s", cause)
        self._idle_processes.extend(
            [*self.worker_processes, *[None] * (self._num_workers - len(self.worker_processes))]
        )  # one for each thread

    def _decode_files(self, files: list[Path]) -> list[ImageArray | ImageError]:
        process, healthy_process = self._idle_processes.popleft(), None
        try:
            with suppress(OSError, EOFError, ValueError):  # it is dead, or talks nonsense
                if process:
                    images = _decode_in_process(process, files)
                    healthy_process = process
                    return images
        finally:
            self._idle_processes.append(healthy_process)
            if process and not healthy_process and not self._is_closed:
                _log.warning("a process that decodes pictures is gone (%s), a thread goes on", process.poll())
        if self._is_closed and self._use_processes:
            raise CancelledError
        return [read_or_error(file, self._min_side) for file in files]


def read_or_error(file: Path | str, min_side: int) -> ImageArray | ImageError:
    try:
        return decode.read_image(file, min_side=min_side)
    except ImageError as error:
        return error


def _start_process(min_side: int) -> _WorkerProcess:
    """A process that serves, and that Ctrl-C is not sent to.

    Raises:
        OSError: the system starts no more.
    """
    popen_options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        popen_options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    command = [sys.executable, "-c", WORKER_CODE, str(min_side), *sys.path]
    # NumPy would start a thread for each core, in each process, and never use them.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **popen_options)
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # this user has too much already in pipes
            fcntl.fcntl(cast(BufferedReader, process.stdout), fcntl.F_SETPIPE_SZ, _PIPE_BUFFER_BYTES)
    return process


def _decode_in_process(process: _WorkerProcess, files: list[Path]) -> list[ImageArray | ImageError]:
    """What a process makes of files.

    Raises:
        OSError, EOFError: it is dead.
        ValueError: it talks nonsense.
    """
    request_pipe, response_pipe = cast(BufferedWriter, process.stdin), cast(BufferedReader, process.stdout)
    request_pipe.write(json.dumps([os.fspath(file) for file in files]).encode() + b"\n")
    request_pipe.flush()
    line = response_pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    images: list[ImageArray | ImageError] = []
    for code_or_height, values_or_width in json.loads(line):
        if isinstance(code_or_height, str):
            images.append(ImageError(code_or_height, **values_or_width))
        else:
            pixels = np.empty((code_or_height, values_or_width, 3), np.uint8)
            if response_pipe.readinto(pixels.data) < pixels.nbytes:
                raise EOFError
            images.append(pixels)
    return images


def serve_requests(min_side: int) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    response_stream = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library may print
    with suppress(BrokenPipeError):  # nobody listens
        for line in sys.stdin.buffer:
            images = [read_or_error(file, min_side) for file in json.loads(line)]
            headers = [
                (image.code, image.values) if isinstance(image, ImageError) else image.shape[:2] for image in images
            ]
            response_stream.write(json.dumps(headers).encode() + b"\n")
            for image in images:
                if not isinstance(image, ImageError):
                    response_stream.write(image.data)
            response_stream.flush()
    os._exit(0)  # without a word about what can no longer be written
