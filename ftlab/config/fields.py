"""What is known of a knob: where it stands, what values it takes, and how it is named and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import ConfigError


@dataclass(frozen=True)
class FieldSpec:
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


def config_field(default: Any, group: str, **attributes: Any) -> Any:
    """A field of the configuration, with what is known of it."""
    return field(default=default, metadata={"spec": FieldSpec(group, **attributes)})


def format_flag(name: str) -> str:
    """The command line's name of a knob."""
    return "--" + name.replace("_", "-")


def format_value(value: Any) -> str:
    """A value as a person would type it; a number so that it is read back to the bit."""
    short_text = f"{value:g}" if isinstance(value, float) else str(value)
    return short_text if not isinstance(value, float) or float(short_text) == value else repr(value)


def validate_value(name: str, spec: FieldSpec, value_type: type, value: Any) -> None:
    """Find out whether a value does for a knob.

    Args:
        value_type: str, int or float.

    Raises:
        ConfigError: it does not: of another type, no choice, or beyond its bounds.
    """
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (isinstance(value, str) if value_type is str else is_numeric and isinstance(value, (value_type, int))):
        expected_type = messages.get_text(f"type.{value_type.__name__}")
        raise ConfigError("config.type", name=format_flag(name), value=repr(value), wanted=expected_type)
    if spec.choices and value not in spec.choices:
        choices = ", ".join(filter(None, spec.choices))
        raise ConfigError("config.choice", name=format_flag(name), value=value, choices=choices)
    if spec.low is not None and not (spec.low <= value <= (spec.high or value)):
        raise ConfigError("config.bounds", name=format_flag(name), value=value, low=spec.low, high=spec.high)
