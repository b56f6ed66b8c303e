"""What a training says: frozen dataclasses, each one JSON line in `metrics.jsonl`.

The line is the dataclass's fields beside `event` (its kind) and `time` (seconds since 1970, when it was
measured). Losses are mean cross-entropies in nats, accuracies fractions in [0, 1], rates per optimizer step.
A figure that is not known is null, never NaN: the lines stay JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time as clock
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str]
    time: float = field(default_factory=clock.time)

    def to_line(self) -> str:
        """One line of JSON, without the newline."""
        values = _replace_non_finite({"event": self.kind, **dataclasses.asdict(self)})
        return json.dumps(values, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A process began, or went on from `step` (0 on a fresh start). `validation` is `test` where the folder's test
    pictures validate, and so are no test any more."""

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


@dataclass(frozen=True, kw_only=True)
class LogMessage(Event):
    """A sentence for the log: key `log.<code>` of the words, and its values. `level` is info, or warning for what a
    person should not overlook."""

    kind: ClassVar[str] = "note"
    code: str
    values: dict[str, object] = field(default_factory=dict)
    level: str = "info"


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far work that comes before or between epochs is: `stage` is `download` (of weights, in bytes), `statistics`,
    `features` or `validation` (in pictures), or `rates` (of a sweep over learning rates, in steps)."""

    kind: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """Means over the optimizer steps since the last such event; `step` counts from 1 over the whole run."""

    kind: ClassVar[str] = "step"
    step: int
    epoch: int
    loss: float | None
    accuracy: float | None
    learning_rate: float
    images_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class Epoch(Event):
    """An epoch and its validation. Epoch 0 is the untrained network: its training figures are null."""

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
    """A checkpoint is on the disk: `what` is `best`, `last`, or `epoch` (one whose weights are kept)."""

    kind: ClassVar[str] = "saved"
    what: str
    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The end of a process: `reason` is finished, stopped, time, early or failed (then `message` says why)."""

    kind: ClassVar[str] = "ended"
    reason: str
    epoch: int
    step: int
    best_epoch: int | None
    best_val_accuracy: float | None
    seconds: float
    message: str | None = None


EVENT_TYPES: dict[str, type[Event]] = {cls.kind: cls for cls in (Started, LogMessage, Progress, Step, Epoch, Saved, Ended)}


def parse_event(line: str) -> Event | None:
    """The event of a line; None for a kind, or a whole line, that this version does not know.

    Fields that a newer version added are passed over, so that an old page can show a new run.
    """
    try:
        values = json.loads(line)
    except ValueError:
        return None
    kind = values.pop("event", None) if isinstance(values, dict) else None
    cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return None
    field_names = {f.name for f in dataclasses.fields(cls)}
    try:
        return cls(**{key: value for key, value in values.items() if key in field_names})
    except TypeError:  # a line that lacks a field was written by a version too old to be read
        return None


def _replace_non_finite(value: object) -> object:
    """The same value with null for every number in it that JSON does not have."""
    if isinstance(value, dict):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
