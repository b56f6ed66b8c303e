"""Events on a terminal: a progress bar where there is one, a line an epoch everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from ftlab.core import messages
from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Started, Step


def show_events(events: Iterable[Event], stream: TextIO | None = None, *, quiet: bool = False) -> Ended | None:
    """Tell events as they come, unless quiet; the last one, if it was the end."""
    end_event = None
    with _EventBar(stream or sys.stderr) as bar:
        for event in events:
            if not quiet:
                bar.show_event(event)
            if isinstance(event, Ended):
                end_event = event
    return end_event


def format_event(event: Event) -> str | None:
    """The sentence of an event; None for those that only move the bar."""
    if isinstance(event, LogMessage):
        return messages.get_text(f"log.{event.code}", **event.values)
    if isinstance(event, Started):
        key = "console.resumed" if event.step else "console.started"
        key += "_test" if event.validation == "test" and not event.step else ""
        return messages.get_text(key, **vars(event))
    if isinstance(event, Epoch):
        losses = {name: _format_loss(getattr(event, name)) for name in ("train_loss", "val_loss")}
        accuracies = {name: _format_percent(getattr(event, name)) for name in ("train_accuracy", "val_accuracy")}
        best_mark = messages.get_text("console.best") if event.best else ""
        return messages.get_text(
            "console.epoch", epoch=event.epoch, seconds=event.seconds, mark=best_mark, **losses, **accuracies
        )
    if isinstance(event, Ended):
        if event.message:
            return event.message
        if event.best_epoch is None:
            return messages.get_text("console.nothing")
        best_accuracy = _format_percent(event.best_val_accuracy)
        return messages.get_text(
            f"console.{event.reason}", epoch=event.best_epoch, best=best_accuracy, seconds=event.seconds
        )
    return None


class _EventBar:
    """tqdm's bar on a terminal, plain lines in a file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.progress_bar: tqdm[None] | None = None
        self.total_steps = 0

    def __enter__(self) -> _EventBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_bar()

    def show_event(self, event: Event) -> None:
        if isinstance(event, Started):
            self.total_steps = event.epochs * event.steps_per_epoch
        if isinstance(event, Progress):
            self._update_bar(
                messages.get_text(f"console.{event.stage}"), event.done, event.total, event.stage == "download"
            )
        elif isinstance(event, Step):
            self._update_bar(messages.get_text("console.training"), event.step, self.total_steps)
        text = format_event(event)
        if text is not None:
            tqdm.write(text, file=self.stream)
            self.stream.flush()

    def _update_bar(self, title: str, done_count: int, total_count: int, counts_bytes: bool = False) -> None:
        if not self.stream.isatty():
            return
        if (
            self.progress_bar is None
            or self.progress_bar.desc != f"{title}: "
            or self.progress_bar.total != total_count
        ):
            self._close_bar()
            unit_options = {"unit": "B", "unit_scale": True} if counts_bytes else {}
            self.progress_bar = tqdm(
                total=total_count, desc=title, file=self.stream, leave=False, dynamic_ncols=True, **unit_options
            )
        self.progress_bar.update(done_count - self.progress_bar.n)

    def _close_bar(self) -> None:
        if self.progress_bar is not None:
            self.progress_bar.close()
            self.progress_bar = None


def _format_loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _format_percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
