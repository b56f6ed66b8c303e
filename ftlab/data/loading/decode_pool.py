"""A pool of worker processes, or threads, that decode image files ahead. No torch.

Every small call into Pillow takes the interpreter lock anew: sixteen threads wake each other for it and together decode
fewer images than one. A process has a lock of its own; it takes a fifth of a second to start, and memory. Unlike with
`multiprocessing` the parent's program, and torch with it, is not imported again (see `data/isolation/worker_main.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.isolation.worker_pool import WorkerPool
from ftlab.data.isolation.worker_process import WorkerProcess

_FILES_PER_TASK = 4
"""Files that `DecodePool.submit_each` decodes in one task."""


class DecodePool:
    """Decode files ahead with worker processes or threads, while the context is open.

    A file at which a worker process crashes, hangs or runs out of memory gets an `ImageError`, and the process is
    replaced; a bug in Python code is raised here.

    Attributes:
        workers: the pool of processes; None if threads decode.
    """

    def __init__(
        self,
        num_workers: int,
        options: DecodeOptions,
        *,
        use_processes: bool,
        idle_workers: Iterable[WorkerProcess] = (),
    ) -> None:
        """Create the pool; its processes start with the first requests.

        Args:
            num_workers: files that are decoded at a time.
            options: of decoding, for all files.
            use_processes: processes instead of threads.
            idle_workers: processes that have started already.
        """
        self._options, self._num_workers = options, num_workers
        self._executor = ThreadPoolExecutor(num_workers, "decode")  # with processes, each thread waits for one
        self.workers = WorkerPool(num_workers, idle_workers) if use_processes else None

    def __enter__(self) -> DecodePool:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel pending and running requests, and end all worker processes and threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self.workers:
            self.workers.close()
        # The threads now find their processes dead, and end.
        self._executor.shutdown()

    def submit(self, files: Sequence[Path]) -> Future[list[ImageArray | ImageError]]:
        """Decode files in one task.

        Args:
            files: files to decode.

        Returns:
            For each file its pixels, uint8 [H, W, 3], or the error that says why it cannot be read.
        """
        if self.workers:
            # Often all images come from a cache and no process is needed; if any is, all are.
            self.workers.prestart(self._num_workers)
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

    def _decode_files(self, files: list[Path]) -> list[ImageArray | ImageError]:
        """Return the pixels or the error of each file; `CancelledError` if the pool was closed meanwhile."""
        if self.workers:
            return self.workers.decode("read_image", files, self._options.to_json())
        return [read_or_error(file, self._options) for file in files]


def read_or_error(file: Path | str, options: DecodeOptions) -> ImageArray | ImageError:
    """Return the pixels of a file, uint8 [H, W, 3], or the error that says why it cannot be read."""
    try:
        return decode.read_image(file, options)
    except ImageError as error:
        return error
