"""Events on a terminal: a progress bar where there is one, a line an epoch everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from ftlab.core import messages
from ftlab.runs.events import Ended, Epoch, Event, Note, Progress, Started, Step


def show(events: Iterable[Event], stream: TextIO | None = None, *, quiet: bool = False) -> Ended | None:
    """Tell events as they come, unless quiet; the last one, if it was the end."""
    ended = None
    with _Bar(stream or sys.stderr) as bar:
        for event in events:
            if not quiet:
                bar.take(event)
            if isinstance(event, Ended):
                ended = event
    return ended


def line(event: Event) -> str | None:
    """The sentence of an event; None for those that only move the bar."""
    if isinstance(event, Note):
        return messages.text(f"log.{event.code}", **event.values)
    if isinstance(event, Started):
        key = "console.resumed" if event.step else "console.started"
        key += "_test" if event.validation == "test" and not event.step else ""
        return messages.text(key, **vars(event))
    if isinstance(event, Epoch):
        values = {name: _figure(getattr(event, name)) for name in ("train_loss", "val_loss")}
        shares = {name: _percent(getattr(event, name)) for name in ("train_accuracy", "val_accuracy")}
        mark = messages.text("console.best") if event.best else ""
        return messages.text("console.epoch", epoch=event.epoch, seconds=event.seconds, mark=mark, **values, **shares)
    if isinstance(event, Ended):
        if event.message:
            return event.message
        if event.best_epoch is None:
            return messages.text("console.nothing")
        best = _percent(event.best_val_accuracy)
        return messages.text(f"console.{event.reason}", epoch=event.best_epoch, best=best, seconds=event.seconds)
    return None


class _Bar:
    """tqdm's bar on a terminal, plain lines in a file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.bar: tqdm[None] | None = None
        self.steps = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def take(self, event: Event) -> None:
        if isinstance(event, Started):
            self.steps = event.epochs * event.steps_per_epoch
        if isinstance(event, Progress):
            self._move(messages.text(f"console.{event.stage}"), event.done, event.total, event.stage == "download")
        elif isinstance(event, Step):
            self._move(messages.text("console.training"), event.step, self.steps)
        text = line(event)
        if text is not None:
            tqdm.write(text, file=self.stream)
            self.stream.flush()

    def _move(self, title: str, done: int, total: int, bytes_: bool = False) -> None:
        if not self.stream.isatty():
            return
        if self.bar is None or self.bar.desc != f"{title}: " or self.bar.total != total:
            self._close()
            unit = {"unit": "B", "unit_scale": True} if bytes_ else {}
            self.bar = tqdm(total=total, desc=title, file=self.stream, leave=False, dynamic_ncols=True, **unit)
        self.bar.update(done - self.bar.n)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
