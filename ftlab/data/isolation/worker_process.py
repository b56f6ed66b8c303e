"""One decoding worker as its parent sees it: start it, send it requests, read its answers, end it. No torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from typing import Any, BinaryIO, cast

import psutil

from ftlab.core.errors import ImageError
from ftlab.data.images.decode import MAX_PIXELS, ImageArray
from ftlab.data.isolation.worker_main import READY_LINE, ImageSource

FILE_SECONDS = 30.0
"""Seconds after which a file is given up. The slowest image that is allowed takes about one second of a core."""
WORKER_MEGABYTES = 2000
"""Megabytes that a worker may take beyond its start; the largest image that is allowed takes about 500."""
START_SECONDS = 120.0
"""Seconds after which a worker that has not started is given up."""
_PIPE_BUFFER_BYTES = 1 << 20
"""Capacity of a worker's output pipe, where it can be set: most images then take the lock once or twice."""
_MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""Environment for glibc, in bytes: a worker keeps up to 64 MiB for its next image, instead of asking the kernel for
zeroed pages at each; a tenth of the CPU time of photographs. Other C libraries ignore it."""
_MAX_LINE_BYTES = 1 << 20
"""Longest header line of an answer that is accepted."""

WORKER_CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from ftlab.data.isolation import worker_main; worker_main.serve_requests(int(sys.argv[1]))"
)


FATAL_CODES = frozenset(("decoder_crashed", "decoder_hung", "decoder_memory", "memory"))
"""Codes of problems that end a worker. `memory`: the system ended it, as it does when memory is short."""


class WorkerDied(Exception):
    """A worker ended, or was ended, before it had answered.

    Attributes:
        code: code of the problem, one of `FATAL_CODES`.
    """

    def __init__(self, code: str) -> None:
        """Store the code."""
        super().__init__(code)
        self.code = code


class WorkerProcess:
    """A worker process. One thread at a time may use it; any thread may end it.

    Attributes:
        process: the process.
        deadline: time of `time.monotonic` at which it is overdue; None while nothing is expected of it.
        memory_limit_bytes: resident memory above which it is ended.
        idle_since: time of `time.monotonic` at which it was last used.
    """

    def __init__(self) -> None:
        """Start the process, which Ctrl-C does not reach; an `OSError` says that the system starts no more."""
        # A process group of its own: the terminal sends Ctrl-C to its foreground group only.
        popen_options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            popen_options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        megabytes = get_memory_limit_megabytes()
        # With the parent's import paths, as ftlab need not be installed; absolute, as the folder is another one.
        import_paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - `Path("")` is no empty path
        command = [sys.executable, "-c", WORKER_CODE, str(megabytes), *import_paths]
        # NumPy's BLAS would start a thread for each core in each process and never use them.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **_MALLOC_SETTINGS}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries print warnings, and at a crash a line, without a file's name
            env=environment,
            cwd=os.path.abspath(os.sep),  # noqa: PTH100 - the worker keeps no folder from being removed
            **popen_options,
        )
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):  # above the user's limit for pipe buffers
                fcntl.fcntl(self._response_pipe, fcntl.F_SETPIPE_SZ, _PIPE_BUFFER_BYTES)
        self.memory_limit_bytes = megabytes * 1_000_000
        self.deadline: float | None = None
        self.idle_since = time.monotonic()
        self._is_ready = False
        self._kill_code = ""
        self._lock = threading.Lock()

    @property
    def _response_pipe(self) -> BufferedReader:
        return cast(BufferedReader, self.process.stdout)

    def wait_until_ready(self) -> bool:
        """Return whether the worker has started; wait for it if it was started a moment ago."""
        if not self._is_ready:
            self.deadline = time.monotonic() + START_SECONDS
            with suppress(OSError):
                self._is_ready = self._response_pipe.readline(_MAX_LINE_BYTES) == READY_LINE
            self.deadline = None
        return self._is_ready

    def decode(
        self,
        operation: str,
        sources: Sequence[ImageSource],
        arguments: Mapping[str, Any],
        *,
        group_answers: bool = False,
    ) -> Iterator[Any]:
        """Let the worker decode images, one after the other.

        Args:
            operation: see `worker_main.run_operation`.
            sources: of the images.
            arguments: of the operation, as JSON has them.
            group_answers: let the worker write the answers to quick sources together.

        Yields:
            The result of each source, or its `ImageError`.

        Raises:
            WorkerDied: the worker ended at the source that follows the last one yielded; with `group_answers`, at that
                one or a later one.
        """
        request_parts = _build_request(operation, sources, arguments, group_answers=group_answers)
        file_seconds = get_file_seconds()
        try:
            self.deadline = time.monotonic() + file_seconds
            request_pipe = cast(BufferedWriter, self.process.stdin)
            for part in request_parts:
                request_pipe.write(part)
            request_pipe.flush()
            for source in sources:
                self.deadline = time.monotonic() + file_seconds
                answer = self._receive_answer(source)
                self._meet_deadline()
                yield answer
        # Dead, or its answer is malformed: then it is not to be trusted any more.
        except (OSError, EOFError, ValueError, KeyError, TypeError) as cause:
            raise WorkerDied(self._end_and_diagnose()) from cause
        finally:
            self.deadline = None
            self.idle_since = time.monotonic()

    def _receive_answer(self, source: ImageSource) -> Any:
        """Return the worker's answer to a source.

        Raises:
            EOFError: the worker died before or while it answered.
            RuntimeError: the worker's program has a bug; its traceback is the message.
        """
        line = self._response_pipe.readline(_MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        header = json.loads(line)
        if "bug" in header:
            raise RuntimeError(header["bug"])
        if "error" in header:
            code, values = header["error"]
            return ImageError(str(code), **{**values, "file": describe_source(source)})
        if "shape" in header:
            return self._receive_pixels(*header["shape"])
        value = header["value"]
        return tuple(value) if isinstance(value, list) else value

    def _receive_pixels(self, height: int, width: int) -> ImageArray:
        """Return the pixels that follow a header, uint8 [height, width, 3], read straight into the array.

        Raises:
            EOFError: the worker died while it answered.
            ValueError: no image may be as large.
        """
        import numpy as np

        if not 0 < height * width <= MAX_PIXELS:
            raise ValueError
        pixels = np.empty((height, width, 3), np.uint8)
        if self._response_pipe.readinto(pixels.data) < pixels.nbytes:
            raise EOFError
        return pixels

    def _meet_deadline(self) -> None:
        """Note that an answer has arrived.

        Raises:
            EOFError: the worker was ended at the same moment.
        """
        with self._lock:
            self.deadline = None
            if self._kill_code:
                raise EOFError

    def check_limits(self) -> None:
        """End the worker if it is overdue, or takes too much memory."""
        # Locked, so that no answer arrives in between: the worker's next file would be blamed.
        with self._lock, suppress(psutil.Error):  # it ended meanwhile
            if self.deadline is None:
                return
            if time.monotonic() > self.deadline:
                self.kill("decoder_hung")
            elif psutil.Process(self.process.pid).memory_info().rss > self.memory_limit_bytes:
                self.kill("decoder_memory")

    def kill(self, code: str = "decoder_crashed") -> None:
        """End the worker at once; the thread that waits for its answer gets `WorkerDied` with this code."""
        self._kill_code = self._kill_code or code
        self.process.kill()

    def close(self) -> None:
        """End the worker and wait for its end."""
        self.process.kill()
        self.process.communicate()  # closes the pipes and waits

    def _end_and_diagnose(self) -> str:
        """Return the code of the problem of the worker's last file, once it has ended."""
        with suppress(subprocess.TimeoutExpired):  # one that talks nonsense does not end by itself
            self.process.wait(1.0)
        self.process.kill()
        status = self.process.wait()
        if self._kill_code:
            return self._kill_code
        was_killed = sys.platform != "win32" and status == -signal.SIGKILL
        return "memory" if was_killed else "decoder_crashed"


def get_file_seconds() -> float:
    """Return the seconds that decoding one file may take: `FTLAB_DECODE_SECONDS`, else `FILE_SECONDS`."""
    return _read_number("FTLAB_DECODE_SECONDS", FILE_SECONDS)


def get_memory_limit_megabytes() -> int:
    """Return the megabytes that decoding one file may take: `FTLAB_DECODE_MEGABYTES`, else `WORKER_MEGABYTES`."""
    return int(_read_number("FTLAB_DECODE_MEGABYTES", WORKER_MEGABYTES))


def _read_number(variable: str, default: float) -> float:
    """Return a positive number from an environment variable, else the default."""
    with suppress(ValueError):
        number = float(os.environ.get(variable, ""))
        return number if 0 < number < float("inf") else default
    return default


def describe_source(source: ImageSource) -> str:
    """Return the name of a source for an error, as `decode` has it."""
    return os.fspath(cast(str, source)) if _is_path(source) else str(getattr(source, "name", None) or "picture")


def _is_path(source: ImageSource) -> bool:
    return isinstance(source, (str, os.PathLike))


def _build_request(
    operation: str, sources: Sequence[ImageSource], arguments: Mapping[str, Any], *, group_answers: bool
) -> list[bytes]:
    """Return a request: its line, and the content of each source that has no path.

    Args:
        operation: see `worker_main.run_operation`.
        sources: of the images.
        arguments: of the operation.
        group_answers: whether answers may be written together.
    """
    source_entries: list[str | int] = []
    contents: list[bytes] = []
    for source in sources:
        if _is_path(source):
            # Absolute, as the worker's current folder may be another one by now. This follows no link.
            source_entries.append(os.path.abspath(cast(str, source)))  # noqa: PTH100
        else:
            stream = cast(BinaryIO, source)
            stream.seek(0)
            contents.append(stream.read())
            source_entries.append(len(contents[-1]))
    request = {
        "operation": operation,
        "arguments": dict(arguments),
        "sources": source_entries,
        "grouped": group_answers,
    }
    return [json.dumps(request).encode() + b"\n", *contents]
