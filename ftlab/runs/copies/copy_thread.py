"""Copies of a run while it trains: a thread sends each checkpoint, so that the training never waits for a network.

The run directory is written first and has everything. A place that does not take a copy is tried again with the next
checkpoint; a warning in the log says so.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import FtlabError
from ftlab.runs.copies import run_copy
from ftlab.runs.copies.remote_folder import hide_secrets
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage, Saved

COPY_INTERVAL_SECONDS = 60.0
"""Shortest time between two copies, but for the last one: short epochs save more often than a bucket need be asked."""
FINISH_SECONDS = 600.0
"""Seconds that the end of a training waits for its last copy."""


class CopyThread:
    """Copies one run to one place, always the newest checkpoint: one not yet sent when the next comes is left out."""

    def __init__(self, run: Run, place: str) -> None:
        """Prepare to copy; the thread starts with the first checkpoint.

        Args:
            run: that is trained in this process.
            place: path or address of the folder of copies; empty for none.
        """
        self._run, self._place = run, place
        self._thread: threading.Thread | None = None
        self._messages: queue.SimpleQueue[LogMessage] = queue.SimpleQueue()
        self._lock, self._is_closing, self._has_work = threading.Lock(), threading.Event(), threading.Event()
        self._close_lock = threading.Lock()
        self._next_snapshot: Path | None = None
        self._snapshot_count, self._has_failed, self._has_told = 0, False, False

    def follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Pass events on, and copy the run after each checkpoint and at the end, as soon as the consumer recorded it.

        Args:
            events: of a training.

        Yields:
            The events, and messages about the copies between them.
        """
        if not self._place:
            yield from events
            return
        try:
            for event in events:
                if isinstance(event, Ended):
                    self.close()
                yield from self._take_messages()
                yield event
                if isinstance(event, Saved) and event.what == "last":
                    self._add_snapshot()
                elif isinstance(event, Ended) and not self._has_failed:
                    self._send_end()
        finally:
            self.close()

    def close(self) -> None:
        """Wait until the run is copied as it is now, for a limited time. Repeating it is allowed."""
        with self._close_lock:
            if not self._place or self._is_closing.is_set():
                return
            if self._run.last_checkpoint_path.is_file():
                self._add_snapshot()
            self._is_closing.set()
            self._has_work.set()
            thread, self._thread = self._thread, None
            if thread is None:
                return
            with self._run.liveness.create_heartbeat().beat_during(2 * FINISH_SECONDS):
                thread.join(FINISH_SECONDS)
            if thread.is_alive():
                self._has_failed = True
                self._tell("copy_late", "warning", seconds=f"{FINISH_SECONDS:.0f}")

    def _add_snapshot(self) -> None:
        """Keep the files as they are now, for the thread; a snapshot that it has not begun to send is replaced."""
        self._snapshot_count += 1
        folder = self._run.path / f"copy{self._snapshot_count}{file_io.PART_SUFFIX}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run_copy.take_snapshot(self._run, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            self._tell_failure(str(error))
            return
        with self._lock:
            replaced, self._next_snapshot = self._next_snapshot, folder
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)
        if self._thread is None and not self._is_closing.is_set():
            # A daemon: a place that does not answer must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name="copy", daemon=True)
            self._thread.start()
        self._has_work.set()

    def _work(self) -> None:
        """Send the newest snapshot whenever there is one, until there is none and none will come."""
        while True:
            self._has_work.wait()
            self._has_work.clear()
            is_closing = self._is_closing.is_set()  # before the snapshot is taken: none is added after it
            with self._lock:
                folder, self._next_snapshot = self._next_snapshot, None
            if folder is not None:
                self._send(folder)
            if is_closing:
                return
            self._is_closing.wait(COPY_INTERVAL_SECONDS)

    def _send(self, folder: Path) -> None:
        """Send a snapshot and remove it; an error becomes a message."""
        try:
            run_copy.send_snapshot(folder, self._run.name, self._place)
        except (FtlabError, OSError) as error:
            self._tell_failure(str(error))
        else:
            if self._has_failed or not self._has_told:
                self._tell("copy_made", "info")
            self._has_failed, self._has_told = False, True
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _send_end(self) -> None:
        """Bring the end of the run into its copy too: only its events have changed."""
        folder = self._run.path / f"copy{file_io.PART_SUFFIX}"
        run_copy.take_snapshot(self._run, folder)
        self._send(folder)

    def _tell_failure(self, cause: str) -> None:
        """Warn once that a copy failed, until one succeeds again."""
        if not self._has_failed:
            self._tell("copy_failed", "warning", cause=cause)
        self._has_failed = True

    def _tell(self, code: str, level: str, **values: object) -> None:
        """Add a message about the copies.

        Args:
            code: of the message.
            level: of `LogMessage`.
            **values: of the message.
        """
        place = f"{hide_secrets(self._place).rstrip('/')}/{self._run.name}"
        self._messages.put(LogMessage(code=code, values={"place": place, **values}, level=level))

    def _take_messages(self) -> Iterator[LogMessage]:
        """Yield the messages that have come since the last call."""
        while not self._messages.empty():
            yield self._messages.get()
