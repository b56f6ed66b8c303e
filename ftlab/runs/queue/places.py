"""Place in the queue and minutes until the turn comes, as far as they can be estimated. No torch."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.queue import fair_order, queue_limits
from ftlab.runs.queue.job_queue import JobQueue, QueueState

_RECENT_RUN_COUNT = 12
"""Finished runs, the newest ones, whose median duration stands for one that is not known."""
_SHARED_SECONDS = 1.0
"""Seconds for which one look at a queue serves all pages of a server."""


@dataclass(frozen=True)
class QueuePlace:
    """Place of a queued run.

    Attributes:
        number: 1 for the next one.
        seconds: until its turn; None where nothing is known about the runs before it, and while it is held.
        is_held: the teacher has paused new trainings, and it waits for that too.
    """

    number: int
    seconds: float | None
    is_held: bool = False


def estimate_places(
    state: QueueState, durations: Sequence[float | None], seconds_left: Sequence[float | None], running_limit: int
) -> list[QueuePlace]:
    """Estimate when each waiting run will start.

    Args:
        state: the queue.
        durations: of the waiting runs, in seconds; None where it is not known.
        seconds_left: of the active runs.
        running_limit: runs that are trained at once on a device.

    Returns:
        The place of each waiting run.
    """
    # (device, when it is free) of each run that has started by then; None: at an unknown time.
    ends = [(job.device, left) for job, left in zip(state.active, seconds_left, strict=True)]
    places = []
    for number, (job, duration) in enumerate(zip(state.waiting, durations, strict=True), 1):
        if job.is_held:  # those after it are held too
            places.append(QueuePlace(number, None, is_held=True))
            continue
        device = job.marker.device
        known_ends = [end for used_device, end in ends if fair_order.share_device(device, used_device)]
        start: float | None = 0.0
        if len(known_ends) >= running_limit:
            # It starts when so many have ended that one place is free; unknown ones end last.
            in_order = sorted(known_ends, key=lambda end: (end is None, end))
            start = in_order[len(in_order) - running_limit]
        places.append(QueuePlace(number, start))
        ends.append((device, None if start is None or duration is None else start + duration))
    return places


class PlaceTable:
    """Places of all queued runs of a folder, looked up at most once a second. Thread-safe."""

    def __init__(self, queue: JobQueue) -> None:
        """Look at nothing yet.

        Args:
            queue: the queue.
        """
        self._queue = queue
        self._lock = threading.Lock()
        self._places: dict[str, QueuePlace] = {}
        self._read_time = -_SHARED_SECONDS
        self._typical: tuple[float, float | None] = (-60.0, None)

    def find_place(self, run: Run) -> QueuePlace | None:
        """Return the place of a run; None if it does not wait."""
        return self.read_places().get(run.name)

    def read_places(self, *, fresh: bool = False) -> dict[str, QueuePlace]:
        """Return the places by the names of the runs, the next one first.

        Args:
            fresh: look again, however short the last look is ago.
        """
        with self._lock:
            if fresh or time.monotonic() - self._read_time >= _SHARED_SECONDS:
                self._places = self._read_places()
                self._read_time = time.monotonic()
            return self._places

    def _read_places(self) -> dict[str, QueuePlace]:
        """Return the places as they are now."""
        state = self._queue.read_state()
        if not state.waiting:
            return {}
        typical = self._find_typical_seconds()
        durations = [
            limit_seconds(job.run, typical if job.marker.seconds is None else job.marker.seconds)
            for job in state.waiting
        ]
        seconds_left = [_estimate_seconds_left(job.run, job.since, typical) for job in state.active]
        limit = queue_limits.read_limits().running_per_device
        places = estimate_places(state, durations, seconds_left, limit)
        return {job.run.name: place for job, place in zip(state.waiting, places, strict=True)}

    def _find_typical_seconds(self) -> float | None:
        """Return the median duration of the last finished runs, looked up once a minute; None where there are none."""
        read_time, typical = self._typical
        if time.monotonic() - read_time >= 60.0:
            typical = find_typical_seconds(self._queue.root)
            self._typical = (time.monotonic(), typical)
        return typical


def find_typical_seconds(root: Path) -> float | None:
    """Return the median duration of the newest finished runs in seconds; None where none has finished."""
    durations: list[float] = []
    # Not all of a thousand: the newest ones tell most.
    for name in run_store.list_run_names(root)[: 5 * _RECENT_RUN_COUNT]:
        end_event = Run(root / name).liveness.read_end_event()
        if end_event is not None and end_event.reason in ("finished", "time", "early"):
            durations.append(end_event.seconds)
        if len(durations) == _RECENT_RUN_COUNT:
            break
    return statistics.median(durations) if durations else None


def limit_seconds(run: Run, seconds: float | None) -> float | None:
    """Return a duration, cut at the time limit of the run.

    Args:
        run: the run.
        seconds: the duration; None if it is not known.
    """
    try:
        limit = run.load_config().max_minutes * 60
    except RunError:
        return seconds
    return min(limit, seconds or limit) if limit else seconds


def describe_place(place: QueuePlace | None) -> str:
    """Return place and minutes as a sentence: "You are 3rd, about 4 min."; empty for none."""
    if place is None:
        return ""
    ordinal = format_ordinal(place.number)
    if place.is_held:
        return messages.get_text("queue.place_held", place=ordinal)
    if place.seconds is None:
        return messages.get_text("queue.place", place=ordinal)
    if place.seconds < 60:
        return messages.get_text("queue.place_soon", place=ordinal)
    return messages.get_text("queue.place_minutes", place=ordinal, minutes=f"{place.seconds / 60:.0f}")


def format_ordinal(number: int) -> str:
    """Return a place as people say it: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    last_digit = number % 10 if number % 100 not in (11, 12, 13) else 0
    return messages.get_text(
        f"queue.ordinal.{ {1: 'first', 2: 'second', 3: 'third'}.get(last_digit, 'other') }", n=number
    )


def _estimate_seconds_left(run: Run, since: float, typical: float | None) -> float | None:
    """Estimate how long an active run will still take.

    Args:
        run: the run.
        since: when its process took it, in seconds since 1970.
        typical: duration of a run, in seconds.

    Returns:
        Seconds; None where nothing is known.
    """
    seconds_left = run.load_history().estimate_seconds_left()
    elapsed = max(0.0, time.time() - since)
    if seconds_left is None and typical is not None:
        seconds_left = max(0.0, typical - elapsed)
    total = limit_seconds(run, None if seconds_left is None else elapsed + seconds_left)
    return None if total is None else max(0.0, total - elapsed)
