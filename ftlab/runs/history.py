"""The story of a run so far, folded from its events: what the page, the console and the plots show."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Started, Step


class StepColumns(dict[str, "array[float]"]):
    """Numbers of a run's steps as columns, float64, NaN where one is not known: a hundred thousand rows would take too
    long to be taken apart at every look."""

    COLUMN_NAMES = ("step", "loss", "accuracy", "learning_rate")

    def __init__(self, rows: Iterable[Step] = ()) -> None:
        super().__init__((name, array("d")) for name in self.COLUMN_NAMES)
        for row in rows:
            self.append_row(row)

    def append_row(self, row: Step) -> None:
        for name, column in self.items():
            value = getattr(row, name)
            column.append(math.nan if value is None else value)

    def drop_last_row(self) -> None:
        """Take the last row away."""
        for column in self.values():
            column.pop()

    def copy_columns(self) -> list[array[float]]:
        """In the order of their names, equally long, whatever is appended meanwhile."""
        columns = [column[:] for column in self.values()]
        return [column[: min(map(len, columns))] for column in columns]


class History:
    """Events in, rows out.

    A resumed run measures again what came after its last checkpoint; the rows of the first try are dropped when
    the new `Started` or what is measured again arrives, so that each step and each epoch stands here once.
    """

    def __init__(self) -> None:
        self.start_event: Started | None = None
        self.steps: list[Step] = []
        self.step_columns = StepColumns()
        self.epochs: list[Epoch] = []
        self.log_messages: list[LogMessage] = []
        self.progress: Progress | None = None
        self.end_event: Ended | None = None
        self.event_count = 0

    def add_events(self, events: Iterable[Event]) -> None:
        """Take in events in the order in which they were written."""
        for event in events:
            self.event_count += 1
            if isinstance(event, Started):
                self.start_event, self.end_event, self.progress = event, None, None
                self.steps = [row for row in self.steps if row.step <= event.step]
                self.step_columns = StepColumns(self.steps)
                self.epochs = [row for row in self.epochs if row.step <= event.step]
            elif isinstance(event, Step):
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
        """The epoch whose weights are kept as the best."""
        return next((row for row in reversed(self.epochs) if row.best), None)

    @property
    def steps_done(self) -> int:
        """Optimizer steps done, as far as was told."""
        return max([*(row.step for row in self.steps[-1:]), *(row.step for row in self.epochs[-1:])], default=0)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run; 0 before it is known."""
        return self.start_event.epochs * self.start_event.steps_per_epoch if self.start_event else 0

    def estimate_seconds_left(self, window: int = 50) -> float | None:
        """Time to the end by the pace of the last `window` steps, validation included; None before two are known."""
        # What lies before a resume would count the pause as work.
        start_time = self.start_event.time if self.start_event else 0.0
        recent_steps = [row for row in self.steps[-window:] if row.time >= start_time]
        if len(recent_steps) < 2 or self.end_event:
            return None
        elapsed, step_count = recent_steps[-1].time - recent_steps[0].time, recent_steps[-1].step - recent_steps[0].step
        return elapsed / step_count * (self.total_steps - recent_steps[-1].step) if step_count > 0 else None
