"""The story of a run so far, folded from its events: what the page, the console and the plots show."""

from __future__ import annotations

from collections.abc import Iterable

from ftlab.events import Ended, Epoch, Event, Note, Progress, Started, Step


class History:
    """Events in, rows out.

    A resumed run measures again what came after its last checkpoint; the rows of the first try are dropped when
    the new `Started` arrives, so that each step and each epoch stands here once.
    """

    def __init__(self) -> None:
        self.started: Started | None = None
        self.steps: list[Step] = []
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
                self.epochs = [row for row in self.epochs if row.step <= event.step]
            elif isinstance(event, Step):
                self.steps.append(event)
                self.progress = None
            elif isinstance(event, Epoch):
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
        return max([row.step for row in (*self.steps[-1:], *self.epochs[-1:])], default=0)

    @property
    def steps_total(self) -> int:
        """Optimizer steps of the whole run; 0 before it is known."""
        return self.started.epochs * self.started.steps_per_epoch if self.started else 0

    def seconds_left(self, window: int = 50) -> float | None:
        """Time to the end by the pace of the last `window` steps, validation included; None before two are known."""
        rows = self.steps[-window:]
        if len(rows) < 2 or self.ended:
            return None
        elapsed, done = rows[-1].time - rows[0].time, rows[-1].step - rows[0].step
        return elapsed / done * (self.steps_total - rows[-1].step) if done > 0 else None
