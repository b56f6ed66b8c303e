"""A pool of decoding workers that outlives its workers: one that crashes or hangs names its file and is replaced.

A damaged or hostile file may make a decoder crash, hang or take all memory. Here it does so in a process of its own:
the file becomes an `ImageError` like any other, and nothing else notices. No torch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from ftlab.core.errors import ImageError
from ftlab.data.isolation import worker_main
from ftlab.data.isolation.failed_files import FailedFiles
from ftlab.data.isolation.worker_main import ImageSource
from ftlab.data.isolation.worker_process import FATAL_CODES, WorkerDied, WorkerProcess, describe_source

WATCH_INTERVAL_SECONDS = 0.1
"""Seconds between two looks at the workers that decode."""
IDLE_SECONDS = 60.0
"""Seconds after which unused workers are ended, all but one."""
_START_ATTEMPTS = 3
"""Workers that are tried in turn: one may be ended from outside as it starts, which says nothing about the images."""
_ATTEMPTS_ALONE = 2
"""Times that a suspected file is decoded in a process of its own: damage to memory may show only at the next use."""
_log = logging.getLogger(__name__)


class WorkerPool:
    """Workers that decode for any number of threads. They start when they are needed.

    If no worker can ever be started (no Python executable, a system without processes), images are decoded in this
    process, and the log says so once.
    """

    def __init__(self, max_workers: int, idle_workers: Iterable[WorkerProcess] = ()) -> None:
        """Create the pool; no process is started yet.

        Args:
            max_workers: processes at a time.
            idle_workers: processes that another pool gave up.
        """
        self.max_workers = max_workers
        self._condition = threading.Condition()
        self._idle_workers = list(idle_workers)
        self._busy_workers: list[WorkerProcess] = []
        self._waiting_places: deque[object] = deque()
        self._has_work, self._closed = threading.Event(), threading.Event()
        self._has_started = self._cannot_start = False
        self._watchdog: threading.Thread | None = None
        self._failed_files = FailedFiles()

    @property
    def workers(self) -> list[WorkerProcess]:
        """Workers that are alive or were not replaced yet."""
        with self._condition:
            return [*self._idle_workers, *self._busy_workers]

    def take_idle_workers(self, count: int) -> list[WorkerProcess]:
        """Return idle workers that this pool gives up, at most `count`."""
        with self._condition:
            workers, self._idle_workers = self._idle_workers[:count], self._idle_workers[count:]
        return workers

    def prestart(self, count: int = 1) -> None:
        """Start workers without waiting for them, so that there are at least `count`."""
        with self._condition, suppress(OSError):  # whoever needs one finds out
            missing_count = min(count, self.max_workers) - len(self._idle_workers) - len(self._busy_workers)
            if not self._closed.is_set() and not self._cannot_start:
                self._idle_workers += [WorkerProcess() for _ in range(missing_count)]

    def decode(
        self,
        operation: str,
        sources: Sequence[ImageSource],
        arguments: Mapping[str, Any] = MappingProxyType({}),
        *,
        group_answers: bool = False,
    ) -> list[Any]:
        """Decode images in one worker, one after the other; waits for an idle worker.

        If the pool is closed meanwhile, this ends with `CancelledError`.

        Args:
            operation: see `worker_main.run_operation`.
            sources: of the images.
            arguments: of the operation, as JSON has them.
            group_answers: let the worker write the answers to quick sources together: cheaper where there are many
                small ones, but if a source ends its worker, all are tried again to find out which it is.

        Returns:
            For each source the result, or the `ImageError` that says why it cannot be read.
        """
        results: list[Any] = []
        while len(results) < len(sources):
            failed_result = self._failed_files.find(sources[len(results)])
            if failed_result is not None:
                results.append(failed_result)
                continue
            worker = self._acquire()
            if worker is None:
                results.append(self._decode_without_worker(operation, sources[len(results)], arguments))
                continue
            try:
                untried_sources = self._failed_files.take_unfailed(sources[len(results) :])
                for result in worker.decode(operation, untried_sources, arguments, group_answers=group_answers):
                    results.append(result)  # noqa: PERF402 - one by one: the results before a failure stay
            except WorkerDied as death:
                self._discard(worker)
                if group_answers:  # any source without an answer may be to blame: all again, one by one
                    group_answers = False
                    results.clear()
                else:
                    self._replace_suspects(death, operation, sources, arguments, results)
            except BaseException:
                self._discard(worker)
                raise
            else:
                self._release(worker)
        return results

    def close(self) -> None:
        """End all workers; requests that are running or waiting end with `CancelledError`."""
        with self._condition:
            self._closed.set()
            self._has_work.set()
            watchdog = self._watchdog
            workers = [*self._idle_workers, *self._busy_workers]
            idle_workers, self._idle_workers = self._idle_workers, []
            self._condition.notify_all()
        for worker in workers:
            worker.kill()
        for worker in idle_workers:
            worker.close()
        if watchdog:
            watchdog.join()

    def _acquire(self, *, beside_others: bool = False) -> WorkerProcess | None:
        """Return a worker that has started, for the calling thread alone; None if none can be started.

        Args:
            beside_others: a new one at once, even if it is one more than `max_workers`.

        Raises:
            CancelledError: the pool was closed meanwhile.
        """
        for _ in range(_START_ATTEMPTS):
            with self._condition:
                if not beside_others:
                    self._wait_for_turn()
                if self._closed.is_set():
                    raise CancelledError
                if self._cannot_start:
                    return None
                try:
                    takes_idle_one = bool(self._idle_workers) and not beside_others
                    worker = self._idle_workers.pop() if takes_idle_one else WorkerProcess()
                except OSError as cause:
                    self._note_failed_start(str(cause))
                    return None
                self._busy_workers.append(worker)
                self._start_watchdog()
            if worker.wait_until_ready():
                self._has_started = True
                return worker
            self._discard(worker)
        if self._closed.is_set():
            raise CancelledError
        self._note_failed_start("it does not answer")
        return None

    def _wait_for_turn(self) -> None:
        """Wait for a worker, or room for one, or the end of the pool; called with the lock.

        First come, first served: a thread that gives its worker back and asks again at once would otherwise get it
        before those that are still waking up, and a scan of a thousand files would keep a single image waiting.
        """
        place = object()
        self._waiting_places.append(place)
        try:
            while not self._closed.is_set() and (
                self._waiting_places[0] is not place
                or (not self._idle_workers and len(self._busy_workers) >= self.max_workers)
            ):
                self._condition.wait()
        finally:
            self._waiting_places.remove(place)
            self._condition.notify_all()  # the next one may find a worker too

    def _note_failed_start(self, cause: str) -> None:
        """Log that a worker did not start. If none ever did, images are decoded in this process from now on."""
        if not self._has_started and not self._cannot_start:
            self._cannot_start = True
            _log.warning("pictures are decoded within this process, as no other can be started: %s", cause)

    def _release(self, worker: WorkerProcess) -> None:
        """Let another thread use a worker."""
        with self._condition:
            self._busy_workers.remove(worker)
            if not self._closed.is_set():
                self._idle_workers.append(worker)
            self._condition.notify_all()
        if self._closed.is_set():
            worker.close()

    def _discard(self, worker: WorkerProcess) -> None:
        """End a worker and make room for another."""
        with self._condition:
            self._busy_workers.remove(worker)
            self._condition.notify_all()
        worker.close()

    def _start_watchdog(self) -> None:
        """Start, or wake, the thread that ends workers which are overdue, take too much memory, or are not used."""
        self._has_work.set()
        if self._watchdog is None:
            self._watchdog = threading.Thread(target=self._watch, name="watch-decoders", daemon=True)
            self._watchdog.start()

    def _watch(self) -> None:
        """Look at the workers until the pool is closed; sleep while all are idle and no more than one is left."""
        while True:
            self._has_work.wait()
            if self._closed.wait(WATCH_INTERVAL_SECONDS):
                return
            with self._condition:
                # Closed since the look above: clearing the event would now leave `close` waiting for ever.
                if self._closed.is_set():
                    return
                busy_workers = list(self._busy_workers)
                unused_workers = [
                    worker for worker in self._idle_workers[:-1] if time.monotonic() - worker.idle_since > IDLE_SECONDS
                ]
                for worker in unused_workers:
                    self._idle_workers.remove(worker)
                if not busy_workers and len(self._idle_workers) <= 1:
                    self._has_work.clear()
            for worker in busy_workers:
                worker.check_limits()
            for worker in unused_workers:
                worker.close()

    def _replace_suspects(
        self,
        death: WorkerDied,
        operation: str,
        sources: Sequence[ImageSource],
        arguments: Mapping[str, Any],
        results: list[Any],
    ) -> None:
        """Find out which file ended a worker, and append or replace its result.

        The worker was at the file that follows the last result. It may have damaged its memory at an earlier one, or
        have been ended from outside: so the file is decoded again in a process of its own, and if it passes, the
        earlier files of the request are too.

        Args:
            death: how the worker ended.
            operation: see `worker_main.run_operation`.
            sources: all sources of the request.
            arguments: of the operation, as JSON has them.
            results: results so far; changed in place.

        Raises:
            CancelledError: the pool was closed, which ended the worker.
        """
        if self._closed.is_set():
            raise CancelledError
        suspect = sources[len(results)]
        if death.code in ("decoder_hung", "decoder_memory"):
            results.append(self._failed_files.add(suspect, death.code))
            return
        results.append(self._decode_alone(operation, suspect, arguments))
        if isinstance(results[-1], ImageError) and results[-1].code in FATAL_CODES:
            return
        _log.warning("a decoding process ended (%s), but not at %s", death.code, describe_source(suspect))
        for index, source in enumerate(sources[: len(results) - 1]):
            if not isinstance(results[index], ImageError):
                results[index] = self._decode_alone(operation, source, arguments)

    def _decode_alone(self, operation: str, source: ImageSource, arguments: Mapping[str, Any]) -> Any:
        """Decode a suspected file twice in a process of its own.

        Args:
            operation: see `worker_main.run_operation`.
            source: of the image.
            arguments: of the operation.

        Returns:
            The result, or the failure if the process ended.

        Raises:
            CancelledError: the pool was closed meanwhile.
        """
        worker = self._acquire(beside_others=True)
        if worker is None:
            return self._decode_without_worker(operation, source, arguments)
        try:
            return list(worker.decode(operation, [source] * _ATTEMPTS_ALONE, arguments))[-1]
        except WorkerDied as death:
            if self._closed.is_set():
                raise CancelledError from death
            return self._failed_files.add(source, death.code)
        finally:
            self._discard(worker)

    def _decode_without_worker(self, operation: str, source: ImageSource, arguments: Mapping[str, Any]) -> Any:
        """Return the result of decoding in this process, if no worker ever started; else memory or processes lack."""
        if self._has_started:
            return ImageError("memory", file=describe_source(source))
        return worker_main.run_operation(operation, source, arguments)
