"""Experiment trackers: their names, and whether they are installed. Neither they nor torch are imported here."""

from __future__ import annotations

from importlib.util import find_spec

from ftlab.config.fields import format_flag, split_choices
from ftlab.core.errors import ConfigError

TRACKER_TITLES = {"tensorboard": "TensorBoard", "trackio": "trackio", "wandb": "W&B", "mlflow": "MLflow"}
"""Names for people by the tracker's name, which is also that of its package, to install and to import."""
TRACKER_NAMES = tuple(TRACKER_TITLES)
"""Values of the setting `trackers`."""


def check_trackers_installed(trackers: str) -> None:
    """Check that the trackers of a training are installed, before it starts: accelerate would leave them out.

    Args:
        trackers: the setting.

    Raises:
        ConfigError: one is not; the message has the command that installs it.
    """
    for name in split_choices(trackers):
        spec = find_spec(name)
        # A folder of that name, such as the `wandb` that offline runs leave behind, is found too, without an origin.
        if spec is None or spec.origin is None:
            raise ConfigError("config.tracker_missing", name=format_flag("trackers"), tracker=name)
