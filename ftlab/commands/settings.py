"""What a command line says of a configuration."""

from __future__ import annotations

from argparse import Namespace

from ftlab import config
from ftlab.config import TrainConfig
from ftlab.errors import ConfigError


def given(options: Namespace) -> TrainConfig:
    """The configuration of `--config` and flags; a flag wins."""
    base = config.load(options.config).to_json() if options.config else {}
    flags = {name: getattr(options, name) for name in config.KNOBS if hasattr(options, name)}
    if flags.get("data") or flags.get("sample"):
        base |= {"data": "", "sample": ""}
    return config.from_json({**base, **flags})


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its bounds.

    Raises:
        ConfigError: it is.
    """
    if not low <= value <= high:
        raise ConfigError("config.bounds", name=name, value=value, low=low, high=high)
