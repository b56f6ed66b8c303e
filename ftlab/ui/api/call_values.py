"""Checks of the arguments of a call: any program can send any JSON. No error repeats a value, which may be long."""

from __future__ import annotations

import math
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import ConfigError


def check_text(name: str, value: object) -> str:
    """Return an argument that must be a text; empty for null.

    Args:
        name: of the argument.
        value: as it was sent.

    Returns:
        The text.

    Raises:
        ConfigError: it is none.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError("call.type", name=name, wanted=messages.get_text("type.str"))
    return value


def check_flag(name: str, value: object) -> bool:
    """Return an argument that must be true or false; false for null.

    Args:
        name: of the argument.
        value: as it was sent.

    Returns:
        The value.

    Raises:
        ConfigError: it is neither.
    """
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ConfigError("call.type", name=name, wanted=messages.get_text("type.bool"))
    return value


def check_count(name: str, value: object, default: int, high: int) -> int:
    """Return an argument that must be an integer.

    Args:
        name: of the argument.
        value: as it was sent; null stands for `default`.
        default: what is taken then.
        high: the largest value that is allowed; 1 is the smallest.

    Returns:
        The integer.

    Raises:
        ConfigError: it is none, or out of bounds.
    """
    if value is None:
        return default
    number = check_number(name, value)
    if number != int(number):
        raise ConfigError("config.whole", name=name, value=number)
    if not 1 <= number <= high:
        raise ConfigError("config.bounds", name=name, value=int(number), low=1, high=high)
    return int(number)


def check_number(name: str, value: object) -> float:
    """Return an argument that must be a finite number.

    Args:
        name: of the argument.
        value: as it was sent.

    Returns:
        The number.

    Raises:
        ConfigError: it is none, or not finite.
    """
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError("call.type", name=name, wanted=messages.get_text("type.float"))
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError("config.number", name=name)
    return number


def check_object(name: str, value: object) -> dict[str, Any]:
    """Return an argument that must be a JSON object.

    Args:
        name: of the argument.
        value: as it was sent.

    Returns:
        The object.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, dict):
        raise ConfigError("call.type", name=name, wanted=messages.get_text("call.object"))
    return value
