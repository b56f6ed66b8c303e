"""Training events on a terminal: a progress bar if the stream is a terminal, and one line per epoch in any case."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from ftlab.core import messages
from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Started, Step


def show_events(events: Iterable[Event], stream: TextIO | None = None, *, quiet: bool = False) -> Ended | None:
    """Show events as they arrive.

    Args:
        events: of a training.
        stream: to write to; standard error by default.
        quiet: whether to consume the events without showing them.

    Returns:
        The last `Ended` event, or None.
    """
    end_event = None
    with _EventBar(stream or sys.stderr) as bar:
        for event in events:
            if not quiet:
                bar.show_event(event)
            if isinstance(event, Ended):
                end_event = event
    return end_event


def format_event(event: Event) -> str | None:
    """Return the sentence of an event; None for events that only advance the bar."""
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
            return messages.get_text("console.time_nothing" if event.reason == "time" else "console.nothing")
        best_accuracy = _format_percent(event.best_val_accuracy)
        return messages.get_text(
            f"console.{event.reason}", epoch=event.best_epoch, best=best_accuracy, seconds=event.seconds
        )
    return None


class _EventBar:
    """Writer of events: a tqdm bar on a terminal, plain lines in a file.

    Attributes:
        stream: to write to.
        progress_bar: the open bar, if there is one.
        total_steps: steps of all epochs, known once the training has started.
    """

    def __init__(self, stream: TextIO) -> None:
        """Store the stream; the first event with progress opens a bar."""
        self.stream = stream
        self.progress_bar: tqdm[None] | None = None
        self.total_steps = 0

    def __enter__(self) -> _EventBar:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self._close_bar()

    def show_event(self, event: Event) -> None:
        """Advance the bar and write the sentence of an event, if it has one."""
        if isinstance(event, Started):
            self.total_steps = event.epochs * event.steps_per_epoch
        if isinstance(event, Progress):
            self._update_bar(
                messages.get_text(f"console.{event.stage}"),
                event.done,
                event.total,
                counts_bytes=event.stage == "download",
            )
        elif isinstance(event, Step):
            self._update_bar(messages.get_text("console.training"), event.step, self.total_steps)
        text = format_event(event)
        if text is not None:
            tqdm.write(text, file=self.stream)  # erases the bar, and draws it again below the line
            self.stream.flush()

    def _update_bar(self, title: str, done_count: int, total_count: int, *, counts_bytes: bool = False) -> None:
        """Advance the bar; open a new one if title or total have changed.

        Args:
            title: of the stage.
            done_count: steps done.
            total_count: steps in all.
            counts_bytes: whether the steps are bytes.
        """
        if not self.stream.isatty():
            return
        if (
            self.progress_bar is None
            or self.progress_bar.desc != f"{title}: "  # tqdm appends the colon
            or self.progress_bar.total != total_count
        ):
            self._close_bar()  # tqdm cannot change the unit of a bar
            unit_options = {"unit": "B", "unit_scale": True} if counts_bytes else {}
            self.progress_bar = tqdm(
                total=total_count, desc=title, file=self.stream, leave=False, dynamic_ncols=True, **unit_options
            )
        self.progress_bar.update(done_count - self.progress_bar.n)

    def _close_bar(self) -> None:
        """Close and erase the bar, if there is one."""
        if self.progress_bar is not None:
            self.progress_bar.close()
            self.progress_bar = None


def _format_loss(value: float | None) -> str:
    """Return a loss with three decimals; a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def _format_percent(value: float | None) -> str:
    """Return a fraction as a percentage; a dash for None."""
    return "–" if value is None else f"{value:.1%}"
