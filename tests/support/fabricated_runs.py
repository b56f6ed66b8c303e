"""Runs that no process trained: their events are written down, so that what a page makes of them can be looked at."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Epoch, Event, Started, Step

PER_EPOCH = 10
"""Optimizer steps of an epoch."""


def started(step: int = 0, epochs: int = 4, per_epoch: int = PER_EPOCH) -> Started:
    return Started(
        time=1000.0,
        step=step,
        epochs=epochs,
        steps_per_epoch=per_epoch,
        device="CPU",
        train_images=320,
        val_images=80,
        trainable=7686,
        total=3_378_694,
    )


def step(number: int, per_epoch: int = PER_EPOCH, loss: float | None = None, accuracy: float | None = None) -> Step:
    return Step(
        time=1001.0 + number / 10,
        step=number,
        epoch=(number - 1) // per_epoch + 1,
        loss=1.5 / math.sqrt(number) if loss is None else loss,
        accuracy=1 - 0.8 / math.sqrt(number) if accuracy is None else accuracy,
        learning_rate=1e-3,
        images_per_second=321.0,
    )


def epoch(number: int, accuracy: float | None, *, best: bool, per_epoch: int = PER_EPOCH, loss: float = 0.5) -> Epoch:
    trained = None if number == 0 else 0.4321
    return Epoch(
        time=1001.05 + number * per_epoch / 10,
        epoch=number,
        step=number * per_epoch,
        train_loss=trained,
        train_accuracy=trained,
        val_loss=loss,
        val_accuracy=accuracy,
        learning_rate=1e-3 if number else None,
        images_per_second=321.0 if number else None,
        seconds=1.0,
        best=best,
    )


def ended(reason: str = "finished", message: str | None = None) -> Ended:
    return Ended(
        time=1010.0,
        reason=reason,
        epoch=4,
        step=40,
        best_epoch=2,
        best_val_accuracy=0.9375,
        seconds=83.0,
        message=message,
    )


def story(epochs: int = 4) -> list[Event]:
    """Untrained 0.125, then 0.75, 0.9375 (the best), 0.875, 0.875 …; without an end."""
    scores = {0: 0.125, 1: 0.75, 2: 0.9375}
    told: list[Event] = [started(epochs=max(epochs, 4)), epoch(0, scores[0], best=True, loss=2.25)]
    for number in range(1, epochs + 1):
        told += [step(one) for one in range((number - 1) * PER_EPOCH + 1, number * PER_EPOCH + 1)]
        told.append(epoch(number, scores.get(number, 0.875), best=number <= 2))
    return told


def write(run: Run, events: list[Event]) -> None:
    for event in events:
        run.append_event(event)


def make(root: Path, events: list[Event], **settings: object) -> Run:
    """A run with these events, and a model where one was told to be kept."""
    run = run_store.create_run(root, TrainConfig(**{"sample": "shapes", **settings}))  # type: ignore[arg-type]
    write(run, events)
    if any(isinstance(event, Epoch) for event in events):
        run.best_weights_path.touch()
    return run


def make_with_notes(root: Path, title: str = "", notes: str = "", **settings: object) -> Run:
    """A run of one epoch that is over, and what a person wrote about it."""
    run = make(root, [*story(epochs=1), ended()], **settings)
    run_notes.write_notes(run, title=title, notes=notes)
    return run


def make_at_work(root: Path) -> Run:
    """A run that has two epochs so far and seems to be trained by this process."""
    return at_work(make(root, story(epochs=2)))


def at_work(run: Run) -> Run:
    """The same, as if this process trained it."""
    run.liveness.set_owner(os.getpid())
    return run
