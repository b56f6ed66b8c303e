"""What is known of a knob: where it stands, what values it takes, and how it is named and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import ConfigError


@dataclass(frozen=True)
class Knob:
    """What is known of a knob beside its type and default.

    Attributes:
        group: where the form shows it: `data` (in the tab of the pictures), `model`, `main` (in view), or a theme of
            `config.FOLDED`.
        low, high: inclusive bounds of a number.
        choices: the values a choice can take.
        unit: for people, empty for a bare number.
        step: of the widget.
    """

    group: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    step: float | None = None


def knob(default: Any, group: str, **facts: Any) -> Any:
    """A field of the configuration, with what is known of it."""
    return field(default=default, metadata={"knob": Knob(group, **facts)})


def flag(name: str) -> str:
    """The command line's name of a knob."""
    return "--" + name.replace("_", "-")


def written(value: Any) -> str:
    """A value as a person would type it; a number so that it is read back to the bit."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def check(name: str, known: Knob, kind: type, value: Any) -> None:
    """Find out whether a value does for a knob.

    Args:
        kind: str, int or float.

    Raises:
        ConfigError: it does not: of another type, no choice, or beyond its bounds.
    """
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (isinstance(value, str) if kind is str else numeric and isinstance(value, (kind, int))):
        wanted = messages.text(f"type.{kind.__name__}")
        raise ConfigError("config.type", name=flag(name), value=repr(value), wanted=wanted)
    if known.choices and value not in known.choices:
        choices = ", ".join(filter(None, known.choices))
        raise ConfigError("config.choice", name=flag(name), value=value, choices=choices)
    if known.low is not None and not (known.low <= value <= (known.high or value)):
        raise ConfigError("config.bounds", name=flag(name), value=value, low=known.low, high=known.high)
