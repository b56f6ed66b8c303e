"""Metadata of a configuration field: its group, allowed values, flag and textual form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import ConfigError


@dataclass(frozen=True)
class FieldSpec:
    """Metadata of a configuration field beyond its type and default.

    Attributes:
        group: where the form shows it: `data` (on the Dataset tab), `model` (always visible), or a group of
            `train_config.FOLDED_GROUPS`.
        low, high: inclusive bounds of a number.
        choices: allowed values of a choice.
        unit: shown next to the value; empty for a plain number.
        step: increment of the widget.
        several: several of the choices may be set, with commas between them, or none.
    """

    group: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    step: float | None = None
    several: bool = False


def config_field(default: Any, group: str, **attributes: Any) -> Any:
    """Return a dataclass field of the configuration with its `FieldSpec` as metadata.

    Args:
        default: value of the field if it is not set.
        group: see `FieldSpec`.
        **attributes: further attributes of `FieldSpec`.

    Returns:
        What `dataclasses.field` returns, typed as Any so that the field can be annotated with the type of its value.
    """
    return field(default=default, metadata={"spec": FieldSpec(group, **attributes)})


def format_flag(name: str) -> str:
    """Return the command-line flag of a field."""
    return "--" + name.replace("_", "-")


def split_choices(value: str) -> tuple[str, ...]:
    """Return the choices that a setting of several names, each once, in their order."""
    return tuple(dict.fromkeys(filter(None, map(str.strip, value.split(",")))))


def format_value(value: Any) -> str:
    """Return a value as a user would type it; a float is read back exactly."""
    # `:g` drops digits beyond the sixth, so it serves only where it loses nothing; repr is always exact.
    short_text = f"{value:g}" if isinstance(value, float) else str(value)
    return short_text if not isinstance(value, float) or float(short_text) == value else repr(value)


def validate_value(name: str, spec: FieldSpec, value_type: type, value: Any) -> None:
    """Check that a value is allowed for a field.

    Args:
        name: of the field.
        spec: its metadata.
        value_type: str, int, float or bool.
        value: to check.

    Raises:
        ConfigError: the value has another type, is not one of the choices, or is out of bounds.
    """
    # bool is a subclass of int, and JSON's true is no number here. An int is allowed for a float field.
    accepted_types: tuple[type[Any], ...] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}[value_type]
    if not isinstance(value, accepted_types) or (isinstance(value, bool) and value_type is not bool):
        expected_type = messages.get_text(f"type.{value_type.__name__}")
        raise ConfigError("config.type", name=format_flag(name), value=repr(value), wanted=expected_type)
    for choice in split_choices(value) if spec.several else (value,) if spec.choices else ():
        if choice not in spec.choices:
            choices = ", ".join(filter(None, spec.choices))
            raise ConfigError("config.choice", name=format_flag(name), value=choice, choices=choices)
    if spec.low is not None and not (spec.low <= value <= (spec.high or value)):
        raise ConfigError("config.bounds", name=format_flag(name), value=value, low=spec.low, high=spec.high)
