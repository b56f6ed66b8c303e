"""The story of a run so far, folded from its events: what the page, the console and the plots show."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from ftlab.runs.events import Ended, Epoch, Event, Note, Progress, Started, Step


class Columns(dict[str, "array[float]"]):
    """Numbers of a run's steps as columns, float64, NaN where one is not known: a hundred thousand rows would take too
    long to be taken apart at every look."""

    NAMES = ("step", "loss", "accuracy", "learning_rate")

    def __init__(self, rows: Iterable[Step] = ()) -> None:
        super().__init__((name, array("d")) for name in self.NAMES)
        for row in rows:
            self.put(row)

    def put(self, row: Step) -> None:
        for name, column in self.items():
            value = getattr(row, name)
            column.append(math.nan if value is None else value)

    def drop(self) -> None:
        """Take the last row away."""
        for column in self.values():
            column.pop()

    def copies(self) -> list[array[float]]:
        """In the order of their names, equally long, whatever is appended meanwhile."""
        columns = [column[:] for column in self.values()]
        return [column[: min(map(len, columns))] for column in columns]


class History:
    """Events in, rows out.

    A resumed run measures again what came after its last checkpoint; the rows of the first try are dropped when
    the new `Started` or what is measured again arrives, so that each step and each epoch stands here once.
    """

    def __init__(self) -> None:
        self.started: Started | None = None
        self.steps: list[Step] = []
        self.columns = Columns()
        self.epochs: list[Epoch] = []
        self.log: list[Note] = []
        self.progress: Progress | None = None
        self.ended: Ended | None = None
        self.count = 0

    def add(self, events: Iterable[Event]) -> None:
        """Take in events in the order in which they were written."""
        for event in events:
            self.count += 1
            if isinstance(event, Started):
                self.started, self.ended, self.progress = event, None, None
                self.steps = [row for row in self.steps if row.step <= event.step]
                self.columns = Columns(self.steps)
                self.epochs = [row for row in self.epochs if row.step <= event.step]
            elif isinstance(event, Step):
                while self.steps and self.steps[-1].step >= event.step:
                    self.steps.pop()
                    self.columns.drop()
                self.steps.append(event)
                self.columns.put(event)
                self.progress = None
            elif isinstance(event, Epoch):
                while self.epochs and self.epochs[-1].epoch >= event.epoch:
                    self.epochs.pop()
                self.epochs.append(event)
                self.progress = None
            elif isinstance(event, Note):
                self.log.append(event)
            elif isinstance(event, Progress):
                self.progress = event
            elif isinstance(event, Ended):
                self.ended, self.progress = event, None

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept as the best."""
        return next((row for row in reversed(self.epochs) if row.best), None)

    @property
    def step(self) -> int:
        """Optimizer steps done, as far as was told."""
        return max([*(row.step for row in self.steps[-1:]), *(row.step for row in self.epochs[-1:])], default=0)

    @property
    def steps_total(self) -> int:
        """Optimizer steps of the whole run; 0 before it is known."""
        return self.started.epochs * self.started.steps_per_epoch if self.started else 0

    def seconds_left(self, window: int = 50) -> float | None:
        """Time to the end by the pace of the last `window` steps, validation included; None before two are known."""
        # What lies before a resume would count the pause as work.
        since = self.started.time if self.started else 0.0
        rows = [row for row in self.steps[-window:] if row.time >= since]
        if len(rows) < 2 or self.ended:
            return None
        elapsed, done = rows[-1].time - rows[0].time, rows[-1].step - rows[0].step
        return elapsed / done * (self.steps_total - rows[-1].step) if done > 0 else None
