"""The series of an experiment tracker: what it gets of an event, by names of the field."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from ftlab.config.train_config import TrainConfig
from ftlab.runs.events import Epoch, Event, Started, Step

STEP_SERIES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "learning_rate": "train/learning_rate",
    "images_per_second": "train/images_per_second",
}
"""Names of the series by the fields of `Step`: means over the optimizer steps since the last one."""
EPOCH_SERIES = {
    "epoch": "epoch",
    "train_loss": "train/epoch_loss",
    "train_accuracy": "train/epoch_accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
    "seconds": "time/epoch_seconds",
}
"""Names of the series by the fields of `Epoch`."""
_PATH_SETTINGS = ("data", "exclude", "init_from")

Parameters = dict[str, str | int | float | bool]
"""Hyper-parameters of a run by name."""


def list_points(event: Event) -> dict[str, float]:
    """Return the points that an event adds, by the name of the series.

    Args:
        event: of a training.

    Returns:
        The values, NaN and infinities among them; without what is unknown. Empty for an event that adds nothing.
    """
    series = STEP_SERIES if isinstance(event, Step) else EPOCH_SERIES if isinstance(event, Epoch) else {}
    values = {name: getattr(event, field) for field, name in series.items()}
    return {name: value for name, value in values.items() if value is not None}


def list_parameters(config: TrainConfig, start_event: Started) -> Parameters:
    """Return the hyper-parameters of a run: its settings that are not empty, and the sizes known at its start.

    Args:
        config: resolved configuration of the run.
        start_event: of the run.

    Returns:
        The values. Of a path the last part only: where a person keeps their files is nobody's business.
    """
    values = {name: value for name, value in config.to_json().items() if value not in (None, "")}
    values.pop("copy_to", None)  # an address may hold a password
    values |= {name: PurePath(values[name]).name for name in _PATH_SETTINGS if name in values}
    sizes = ("device", "train_images", "val_images", "trainable", "total")
    return values | {f"run/{name}": getattr(start_event, name) for name in sizes}


class ResumePoint:
    """Where the earlier processes of a run have ended: what they have recorded, the trackers have got.

    A resumed run repeats the steps since its last checkpoint, to the bit. No tracker can take points back, so that the
    repeated ones are left out.
    """

    def __init__(self, earlier_events: Iterable[Event]) -> None:
        """Find the last step and the last epoch.

        Args:
            earlier_events: all that the run has recorded, attempts that were repeated included.
        """
        self.is_resumed, self._last_step, self._last_epoch = False, -1, -1
        for event in earlier_events:
            if isinstance(event, Started):
                self.is_resumed = True
            elif isinstance(event, Step):
                self._last_step = max(self._last_step, event.step)
            elif isinstance(event, Epoch):
                self._last_epoch = max(self._last_epoch, event.epoch)

    def is_new(self, event: Event) -> bool:
        """Return whether the trackers have not got an event yet."""
        if isinstance(event, Step):
            return event.step > self._last_step
        return isinstance(event, Epoch) and event.epoch > self._last_epoch
