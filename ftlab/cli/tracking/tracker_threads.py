"""Trackers beside a training: each has a thread, so that none of them can slow the training down or end it.

The run directory is written first and has everything. A tracker that fails, or does not answer, is left out from then
on; a warning in the log says so.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Iterator

from ftlab.cli.tracking import open_trackers
from ftlab.cli.tracking.open_trackers import OpenTracker, TrackedRun
from ftlab.cli.tracking.tracker_series import ResumePoint, list_parameters, list_points
from ftlab.config.fields import split_choices
from ftlab.config.trackers import TRACKER_TITLES
from ftlab.core import messages
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage, Started
from ftlab.runs.jobs import postmortem

OPEN_SECONDS = 20.0
"""Seconds that the first step waits for the trackers to open."""
FINISH_SECONDS = 30.0
"""Seconds that the end of a training waits for the trackers to take the rest."""
BURST_SECONDS = 1.0
"""Seconds between two times at which a tracker gets what has come. Events one by one would have two threads wait for
each other at each, and take three times as long."""
_MAX_CAUSE_CHARACTERS = 300


class TrackerThread:
    """One tracker and the thread that talks to it.

    Attributes:
        title: name of the tracker for people.
        is_open: set once it has opened, or failed to.
        messages: for the log, not yet taken.
    """

    def __init__(self, name: str, tracked: TrackedRun) -> None:
        """Begin to open the tracker.

        Args:
            name: of `TRACKER_NAMES`.
            tracked: the run.
        """
        self.title, self.is_open = TRACKER_TITLES[name], threading.Event()
        self.messages: queue.SimpleQueue[LogMessage] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        # A daemon: a tracker that waits for the network must not keep the process alive.
        self.thread = threading.Thread(target=self._work, args=(name, tracked), name=f"tracker-{name}", daemon=True)
        self.thread.start()

    def add_event(self, event: Event) -> None:
        """Hand over an event, at once."""
        self._events.put(event)

    def begin_close(self) -> None:
        """Let the thread end once the tracker has everything."""
        self._is_closing.set()

    def _work(self, name: str, tracked: TrackedRun) -> None:
        """Open the tracker, give it every event, and close it; an error of the tracker becomes a message."""
        try:
            tracker = open_trackers.open_tracker(name, tracked)
            self.messages.put(LogMessage(code=tracker.code, values={k: str(v) for k, v in tracker.values.items()}))
            self.is_open.set()
            while self._pass_burst(tracker):
                self._is_closing.wait(BURST_SECONDS)
            tracker.finish()
        except Exception as error:  # of a foreign program, for whatever reason: the training does not depend on it
            cause = messages.escape_control_chars(postmortem.describe_error(error).strip().splitlines()[0])
            values: dict[str, object] = {"tracker": self.title, "cause": cause[:_MAX_CAUSE_CHARACTERS]}
            self.messages.put(LogMessage(code="tracker_failed", values=values, level="warning"))
        finally:
            self.is_open.set()

    def _pass_burst(self, tracker: OpenTracker) -> bool:
        """Give the tracker the events that have come.

        Args:
            tracker: the tracker.

        Returns:
            Whether more may come.
        """
        is_closing = self._is_closing.is_set()  # before the queue is emptied: nothing is added after it
        while not self._events.empty():
            event = self._events.get()
            tracker.log(list_points(event), int(getattr(event, "step", 0)), event.time)
        tracker.flush()
        return not is_closing


class TrackerThreads:
    """The trackers of one training in this process."""

    def __init__(self, run: Run, trackers: str) -> None:
        """Find out what the trackers have got from earlier processes; they open when the training starts.

        Args:
            run: the run.
            trackers: the setting that names them; empty for none.
        """
        self._run, self._names = run, split_choices(trackers)
        self._threads: list[TrackerThread] = []
        self._resume_point = ResumePoint(run.read_events()[0] if self._names else ())
        self._close_lock, self._is_closed = threading.Lock(), False

    def follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Pass events on, and hand each to the trackers when the consumer has recorded it.

        Args:
            events: of a training.

        Yields:
            The events, and messages about the trackers between them, the last of them before `Ended`.
        """
        try:
            for event in events:
                if isinstance(event, Ended):
                    self.close()
                    yield from self._take_messages()
                yield event
                if isinstance(event, Started) and self._names and not self._threads:
                    self._open(event)
                elif self._resume_point.is_new(event):
                    for thread in self._threads:
                        thread.add_event(event)
                if not isinstance(event, Ended):
                    yield from self._take_messages()
        finally:
            self.close()

    def close(self) -> None:
        """Wait until the trackers have taken everything, for a limited time. Repeating it, or at once, is allowed."""
        with self._close_lock:
            if self._is_closed:
                return
            self._is_closed = True
            for thread in self._threads:
                thread.begin_close()
            with self._beat_and_redirect(FINISH_SECONDS):
                end_time = time.monotonic() + FINISH_SECONDS
                for thread in self._threads:
                    thread.thread.join(max(0.0, end_time - time.monotonic()))
                    if thread.thread.is_alive():
                        thread.messages.put(_make_late_message("tracker_late", thread, FINISH_SECONDS))

    def _open(self, start_event: Started) -> None:
        """Open all trackers, and wait for them for a limited time."""
        parameters = list_parameters(self._run.load_resolved_config(), start_event)
        tracked = TrackedRun(self._run, parameters, self._resume_point.is_resumed)
        with self._beat_and_redirect(OPEN_SECONDS):
            self._threads = [TrackerThread(name, tracked) for name in self._names]
            end_time = time.monotonic() + OPEN_SECONDS
            for thread in self._threads:
                if not thread.is_open.wait(max(0.0, end_time - time.monotonic())):
                    thread.messages.put(_make_late_message("tracker_slow", thread, OPEN_SECONDS))

    @contextlib.contextmanager
    def _beat_and_redirect(self, seconds: float) -> Iterator[None]:
        """Keep the run alive while its trackers are waited for, and standard output clean, which has results only."""
        heartbeat = self._run.liveness.create_heartbeat()
        with contextlib.redirect_stdout(sys.stderr), heartbeat.beat_during(2 * seconds):
            yield

    def _take_messages(self) -> Iterator[LogMessage]:
        """Yield the messages about the trackers that have come since the last call."""
        for thread in self._threads:
            while not thread.messages.empty():
                yield thread.messages.get()


def _make_late_message(code: str, thread: TrackerThread, seconds: float) -> LogMessage:
    """Return the warning about a tracker that keeps the training waiting."""
    values: dict[str, object] = {"tracker": thread.title, "seconds": f"{seconds:.0f}"}
    return LogMessage(code=code, values=values, level="warning")
