"""Events of a training: frozen dataclasses, each one JSON line in `metrics.jsonl`.

A line holds the fields of the dataclass, `event` (its kind) and `time` (seconds since 1970, when it was
measured). Losses are mean cross-entropies in nats, accuracies fractions in [0, 1], learning rates those of the step.
An unknown value is null, never NaN: the lines stay valid JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time as clock
from dataclasses import dataclass, field
from typing import ClassVar

from ftlab.core import json_fields

PROGRESS_INTERVAL_SECONDS = 0.5
"""Seconds between two `Progress` events: as often as a person reads them."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str]
    time: float = field(default_factory=clock.time)

    def to_line(self) -> str:
        """Return the event as one line of JSON, without the newline."""
        values = _replace_non_finite({"event": self.kind, **dataclasses.asdict(self)})
        return json.dumps(values, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A process started the run, or resumed it.

    Attributes:
        step: optimizer steps already done; 0 on a fresh start.
        epochs: epochs of the whole run.
        steps_per_epoch: optimizer steps per epoch.
        device: name of the device.
        train_images: number of training images.
        val_images: number of validation images.
        trainable: number of trainable parameters.
        total: number of all parameters.
        validation: split used for validation: `val`, or `test` where the test images of the folder are used, which then
            are no independent test any more.
        processes: number of ranks that train together.
    """

    kind: ClassVar[str] = "started"
    step: int
    epochs: int
    steps_per_epoch: int
    device: str
    train_images: int
    val_images: int
    trainable: int
    total: int
    validation: str = "val"
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class LogMessage(Event):
    """A sentence for the log.

    Attributes:
        code: the text has the key `log.<code>` in the messages.
        values: values to insert into the text.
        level: `info`, or `warning` for what people should not overlook.
    """

    kind: ClassVar[str] = "note"
    code: str
    values: dict[str, object] = field(default_factory=dict)
    level: str = "info"


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Progress of work before or between epochs.

    Attributes:
        stage: `download` (of weights, in bytes), `statistics`, `features` or `validation` (in images), or `rates` (a
            sweep over learning rates, in steps).
        done: amount done so far, in the unit of the stage.
        total: amount of the whole stage.
        images_per_second: throughput; None where it is not measured.
    """

    kind: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """Means over the optimizer steps since the previous `Step`; `step` counts from 1 over the whole run."""

    kind: ClassVar[str] = "step"
    step: int
    epoch: int
    loss: float | None
    accuracy: float | None
    learning_rate: float
    images_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class Epoch(Event):
    """An epoch and its validation. Epoch 0 is the untrained network: its training metrics are null."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    step: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float | None
    images_per_second: float | None
    seconds: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    """A checkpoint was written: `what` is `best`, `last`, or `epoch` (an epoch whose weights are kept)."""

    kind: ClassVar[str] = "saved"
    what: str
    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The end of a process: `reason` is `finished`, `stopped`, `time` (limit), `early` (stopping) or `failed`.

    `message` says why it failed.
    """

    kind: ClassVar[str] = "ended"
    reason: str
    epoch: int
    step: int
    best_epoch: int | None
    best_val_accuracy: float | None
    seconds: float
    message: str | None = None


_MAX_TIME_SECONDS = 3e10
"""Times from here on (the year 2920) are damaged; not every system can show them."""
EVENT_TYPES: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Started, LogMessage, Progress, Step, Epoch, Saved, Ended)
}


def parse_event(line: str) -> Event | None:
    """Return the event of a line of `metrics.jsonl`; None for an unknown kind or a line with an invalid value.

    Fields that a newer version added are ignored, so that an old page can show a new run.
    """
    try:
        values = json_fields.parse_json(line)
    except ValueError:
        return None
    kind = values.pop("event", None) if isinstance(values, dict) else None
    cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return None
    try:
        event = json_fields.build_dataclass(cls, values)
    except TypeError:  # a line that lacks a field was written by a version too old to read, or is damaged
        return None
    return event if 0 <= event.time < _MAX_TIME_SECONDS else None


def parse_lines(log: bytes) -> list[Event]:
    """Return the events of complete lines of `metrics.jsonl`; lines without a valid event are passed over."""
    # Not splitlines, which also breaks at characters that a file's name or a message may hold.
    lines = log.decode("utf-8", "replace").split("\n")
    return [event for event in map(parse_event, lines) if event is not None]


def _replace_non_finite(value: object) -> object:
    """Return the value with None for every number in it that JSON cannot express (NaN and infinities)."""
    if isinstance(value, dict):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
