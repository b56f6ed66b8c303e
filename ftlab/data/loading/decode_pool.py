"""A pool of worker processes, or threads, that decode image files ahead. No torch.

Every small call into Pillow takes the interpreter lock anew: sixteen threads wake each other for it and together decode
fewer images than one. A process has a lock of its own; it takes a fifth of a second to start, and memory.

A worker process runs this module's `serve_requests`. It reads requests, each a line of JSON with file names, from
standard input and answers on standard output: a line of JSON with shapes or errors, then the raw pixels, which the
parent reads straight into the arrays it returns. It needs no pickle, and no shared memory, of which a container may
have none. Unlike with `multiprocessing` the parent's program, and torch with it, is not imported again. However the
parent ends, its pipes close, and the workers end too.
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
from ftlab.data.images.decode_options import DecodeOptions, options_from_json

_PIPE_BUFFER_BYTES = 1 << 20
"""Capacity of a worker's output pipe, where it can be set: most images then take the lock once or twice."""

_FILES_PER_TASK = 4
"""Files that `DecodePool.submit_each` decodes in one task."""

_log = logging.getLogger(__name__)

WORKER_CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from ftlab.data.loading import decode_pool; decode_pool.serve_requests(sys.argv[1])"
)

_WorkerProcess = subprocess.Popen[bytes]


class DecodePool:
    """Decode files ahead with worker processes or threads, while the context is open.

    If a process cannot be started, or dies (out of memory, a decoder crashes or has a bug), a thread decodes its files
    from the current request on: no image is lost, the log says it once, and a bug in Python code is raised here.

    Attributes:
        worker_processes: the processes that were started.
    """

    def __init__(self, num_workers: int, options: DecodeOptions, *, use_processes: bool) -> None:
        """Create the pool; its processes start with the first request.

        Args:
            num_workers: files that are decoded at a time.
            options: of decoding, for all files.
            use_processes: processes instead of threads.
        """
        self._num_workers, self._options, self._use_processes = num_workers, options, use_processes
        self._executor = ThreadPoolExecutor(num_workers, "decode")  # with processes, each thread waits for one
        self.worker_processes: list[_WorkerProcess] = []
        self._idle_processes: deque[_WorkerProcess | None] = deque()
        self._is_started = self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> DecodePool:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel pending and running requests, and end all worker processes and threads."""
        self._is_closed = True  # before the kill, so that threads do not decode the files of killed processes
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self.worker_processes:
            process.kill()
        # The threads now find their processes dead, and end.
        self._executor.shutdown()
        for process in self.worker_processes:
            process.communicate()  # closes the pipes and waits

    def submit(self, files: Sequence[Path]) -> Future[list[ImageArray | ImageError]]:
        """Decode files in one task.

        Args:
            files: files to decode.

        Returns:
            For each file its pixels, uint8 [H, W, 3], or the error that says why it cannot be read.
        """
        # Several threads may submit the first request.
        with self._lock:
            if not self._is_started:
                self._start_processes()
        return self._executor.submit(self._decode_files, list(files))

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """Decode files in tasks of a few.

        Args:
            files: files to decode.

        Returns:
            For each file the task that decodes it, and its position in the task's result.
        """
        chunks = [files[start : start + _FILES_PER_TASK] for start in range(0, len(files), _FILES_PER_TASK)]
        tasks = [(self.submit(chunk), len(chunk)) for chunk in chunks]
        return [(task, position) for task, count in tasks for position in range(count)]

    def _start_processes(self) -> None:
        """Start the workers, on the first request: often all images come from a cache and none is needed."""
        self._is_started = True
        try:
            while self._use_processes and len(self.worker_processes) < self._num_workers:
                self.worker_processes.append(_start_process(self._options))
        except OSError as cause:
            _log.warning("pictures are decoded by threads: %s", cause)
        self._idle_processes.extend(
            [*self.worker_processes, *[None] * (self._num_workers - len(self.worker_processes))]
        )  # one entry for each thread, so that `popleft` never finds it empty

    def _decode_files(self, files: list[Path]) -> list[ImageArray | ImageError]:
        """Decode files in an idle worker process, or in this thread.

        Args:
            files: files to decode.

        Returns:
            For each file its pixels or error.

        Raises:
            CancelledError: the pool was closed meanwhile.
        """
        process, healthy_process = self._idle_processes.popleft(), None
        try:
            with suppress(OSError, EOFError, ValueError):  # dead, or its answer is malformed
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
        return [read_or_error(file, self._options) for file in files]


def read_or_error(file: Path | str, options: DecodeOptions) -> ImageArray | ImageError:
    """Return the pixels of a file, uint8 [H, W, 3], or the error that says why it cannot be read."""
    try:
        return decode.read_image(file, options)
    except ImageError as error:
        return error


def _start_process(options: DecodeOptions) -> _WorkerProcess:
    """Return a new worker process that Ctrl-C does not reach; an `OSError` says that the system starts no more."""
    # A process group of its own: the terminal sends Ctrl-C to its foreground group only.
    popen_options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        popen_options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    # With the parent's import paths, as ftlab need not be installed.
    command = [sys.executable, "-c", WORKER_CODE, json.dumps(options.to_json()), *sys.path]
    # NumPy's BLAS would start a thread for each core in each process and never use them.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **popen_options)
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # above the user's limit for pipe buffers
            fcntl.fcntl(cast(BufferedReader, process.stdout), fcntl.F_SETPIPE_SZ, _PIPE_BUFFER_BYTES)
    return process


def _decode_in_process(process: _WorkerProcess, files: list[Path]) -> list[ImageArray | ImageError]:
    """Let a worker process decode files.

    Args:
        process: an idle worker; an `OSError` says that it is dead, a `ValueError` that its answer is malformed.
        files: files to decode.

    Returns:
        For each file its pixels or error.

    Raises:
        EOFError: the worker died while it answered.
    """
    request_pipe, response_pipe = cast(BufferedWriter, process.stdin), cast(BufferedReader, process.stdout)
    # JSON escapes all but ASCII, lone surrogates too, so that undecodable file names arrive as they are.
    request_pipe.write(json.dumps([os.fspath(file) for file in files]).encode() + b"\n")
    request_pipe.flush()
    line = response_pipe.readline()
    if not line.endswith(b"\n"):  # it died before or while it answered
        raise EOFError
    images: list[ImageArray | ImageError] = []
    for code_or_height, values_or_width in json.loads(line):
        # An error is (code, values), an image (height, width).
        if isinstance(code_or_height, str):
            images.append(ImageError(code_or_height, **values_or_width))
        else:
            pixels = np.empty((code_or_height, values_or_width, 3), np.uint8)
            if response_pipe.readinto(pixels.data) < pixels.nbytes:  # straight into the array, without a copy
                raise EOFError
            images.append(pixels)
    return images


def serve_requests(options_json: str) -> None:
    """Answer decode requests until standard input or output closes; the main function of a worker process.

    Args:
        options_json: `DecodeOptions.to_json` as text.
    """
    options = options_from_json(json.loads(options_json))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent ends it: no traceback from an interrupt
    response_stream = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library prints must not get into the answers
    with suppress(BrokenPipeError):  # the parent is gone
        for line in sys.stdin.buffer:
            # All images of a request before the answer: the header line tells all their shapes.
            images = [read_or_error(file, options) for file in json.loads(line)]
            headers = [
                (image.code, image.values) if isinstance(image, ImageError) else image.shape[:2] for image in images
            ]
            response_stream.write(json.dumps(headers).encode() + b"\n")
            for image in images:
                if not isinstance(image, ImageError):
                    response_stream.write(image.data)
            response_stream.flush()
    os._exit(0)  # the usual exit would report that buffered output can no longer be written
