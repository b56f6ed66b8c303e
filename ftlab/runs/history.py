"""History of a run, folded from its events: what the page, the terminal and the plots show."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Sequence

from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Saved, Started, Step

_TORN_END_PATTERN = re.compile(r'\{"event": "ended"(?:.*?"reason": "(?P<reason>finished|stopped|time|early|failed)")?')
"""Beginning of the line of an `Ended` event, as `Event.to_line` writes it."""


class StepColumns(dict[str, "array[float]"]):
    """Columns of the steps of a run, float64, NaN where unknown.

    Kept beside the rows because splitting a hundred thousand of them into columns would take too long at every refresh
    of the page.
    """

    COLUMN_NAMES = ("step", "loss", "accuracy", "learning_rate")

    def __init__(self, rows: Iterable[Step] = ()) -> None:
        """Fill the columns from rows."""
        super().__init__((name, array("d")) for name in self.COLUMN_NAMES)
        for row in rows:
            self.append_row(row)

    def append_row(self, row: Step) -> None:
        """Append one row to all columns."""
        for name, column in self.items():
            value = getattr(row, name)
            column.append(math.nan if value is None else value)

    def drop_last_row(self) -> None:
        """Remove the last row from all columns."""
        for column in self.values():
            column.pop()

    def copy_columns(self) -> list[array[float]]:
        """Return copies of the columns in the order of `COLUMN_NAMES`, all of the same length."""
        # Another thread may append meanwhile, to some columns before others: the copies are cut to the shortest.
        columns = [column[:] for column in self.values()]
        return [column[: min(map(len, columns))] for column in columns]


class History:
    """Rows of a run, built up from its events in the order in which they were written.

    A resumed run repeats what came after its last checkpoint. The rows of the first attempt are dropped when the new
    `Started` or the repeated row arrives, so that each step and each epoch is present once.

    Attributes:
        start_event: last start of a process; None before the first.
        steps: one row per `Step` event.
        step_columns: the same rows as columns.
        epochs: one row per `Epoch` event.
        log_messages: all log messages, also those of attempts that were dropped.
        progress: work under way before or between epochs; None while there is none.
        end_event: end of the last process; None while one works.
        event_count: number of events added.
    """

    def __init__(self) -> None:
        """Start without events."""
        self.start_event: Started | None = None
        self.steps: list[Step] = []
        self.step_columns = StepColumns()
        self.epochs: list[Epoch] = []
        self.log_messages: list[LogMessage] = []
        self.progress: Progress | None = None
        self.end_event: Ended | None = None
        self.event_count = 0

    def add_events(self, events: Iterable[Event]) -> None:
        """Add events in the order in which they were written."""
        for event in events:
            self.event_count += 1
            if isinstance(event, Started):
                self.start_event, self.end_event, self.progress = event, None, None
                self.steps = [row for row in self.steps if row.step <= event.step]
                self.step_columns = StepColumns(self.steps)
                self.epochs = [row for row in self.epochs if row.step <= event.step]
            elif isinstance(event, Step):
                # A repeated step replaces the rows from it on: smoothing relies on increasing steps.
                while self.steps and self.steps[-1].step >= event.step:
                    self.steps.pop()
                    self.step_columns.drop_last_row()
                self.steps.append(event)
                self.step_columns.append_row(event)
                self.progress = None
            elif isinstance(event, Epoch):
                while self.epochs and self.epochs[-1].epoch >= event.epoch:
                    self.epochs.pop()
                self.epochs.append(event)
                self.progress = None
            elif isinstance(event, LogMessage):
                self.log_messages.append(event)
            elif isinstance(event, Progress):
                self.progress = event
            elif isinstance(event, Ended):
                self.end_event, self.progress = event, None

    @property
    def best_epoch(self) -> Epoch | None:
        """The epoch whose weights are kept as the best; None before there is one."""
        return next((row for row in reversed(self.epochs) if row.best), None)

    @property
    def has_cached_features(self) -> bool:
        """True if the head alone is trained, on features that were computed before: no epoch reads an image."""
        return any(message.code in ("features", "features_kept") for message in self.log_messages)

    @property
    def steps_done(self) -> int:
        """Optimizer steps done according to the last step and the last epoch."""
        return max([*(row.step for row in self.steps[-1:]), *(row.step for row in self.epochs[-1:])], default=0)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run; 0 before it is known."""
        return self.start_event.epochs * self.start_event.steps_per_epoch if self.start_event else 0

    def estimate_seconds_left(self, window: int = 50) -> float | None:
        """Estimate the remaining time from the rate of the last `window` rows of `steps`, validation included.

        Args:
            window: number of rows.

        Returns:
            Seconds; None before two rows are known, and after the end.
        """
        # Rows from before a resume would count the pause as work.
        start_time = self.start_event.time if self.start_event else 0.0
        recent_steps = [row for row in self.steps[-window:] if row.time >= start_time]
        if len(recent_steps) < 2 or self.end_event:
            return None
        elapsed, step_count = recent_steps[-1].time - recent_steps[0].time, recent_steps[-1].step - recent_steps[0].step
        return elapsed / step_count * (self.total_steps - recent_steps[-1].step) if step_count > 0 else None


def infer_end_event(events: Sequence[Event], torn_line: str, *, ended_in_order: bool) -> Ended | None:
    """Infer the last event of a run whose log lost its end: the file was cut, or the disk was full.

    Args:
        events: all events that can still be read.
        torn_line: the last line, if it was cut or damaged; empty if it is intact.
        ended_in_order: the last process gave the run back at its end, which a killed one does not.

    Returns:
        The event, as far as the log still tells; None where the process may have died before its end.
    """
    history = History()
    history.add_events(events)
    start_event = history.start_event
    if start_event is None or history.end_event is not None:
        return None
    # The checkpoint after the last epoch is written when nothing but the end is left to do.
    is_complete = any(
        isinstance(event, Saved) and event.what == "last" and event.epoch > start_event.epochs for event in events[-3:]
    )
    torn_end = _TORN_END_PATTERN.match(torn_line)
    reason = (
        (torn_end and torn_end["reason"])
        or ("finished" if is_complete and (torn_line or ended_in_order) else "")
        or ("stopped" if torn_end else "")
    )
    if not reason:
        return None
    best_epoch, last_time = history.best_epoch, max(event.time for event in events)
    return Ended(
        time=last_time,
        reason=reason,
        epoch=history.epochs[-1].epoch if history.epochs else 0,
        step=history.steps_done,
        best_epoch=best_epoch.epoch if best_epoch else None,
        best_val_accuracy=best_epoch.val_accuracy if best_epoch else None,
        seconds=max(0.0, last_time - start_event.time),
    )
