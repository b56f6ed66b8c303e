"""Reading JSON that may be damaged: every fault is a `ValueError` or `TypeError`, and values have the types declared.

A file that was cut, edited by hand or written by another version may hold anything. What is checked here once needs no
check where it is used.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ftlab.core import file_io

DataclassT = TypeVar("DataclassT")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as cause:  # thousands of brackets
        raise ValueError("nested too deeply") from cause


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; an `OSError` says that it cannot be read.

    Raises:
        ValueError: the file holds anything else.
    """
    values = parse_json(file_io.read_regular_file(path))
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    return values


def build_dataclass(cls: type[DataclassT], values: Mapping[str, Any], *, ignore_unknown: bool = True) -> DataclassT:
    """Return a dataclass instance made of JSON values.

    Args:
        cls: the dataclass, with fields of plain types: str, int, float, bool, list, tuple, dict, or None beside them.
        values: values by field name.
        ignore_unknown: pass over keys that are no field, as a newer version may have added them.

    Returns:
        The instance.

    Raises:
        TypeError: a field without default is missing, or a value has another type than the field or is not finite.
    """
    hashable_class: Any = cls  # mypy does not see that a class is hashable
    allowed_types = _load_allowed_types(hashable_class)
    field_values = {name: value for name, value in values.items() if name in allowed_types}
    if not ignore_unknown and len(field_values) < len(values):
        raise TypeError("unknown field")
    for name, value in field_values.items():
        if type(value) not in allowed_types[name] or (type(value) is float and not math.isfinite(value)):
            raise TypeError(f"{name}: unexpected value")
    return cls(**field_values)


@cache
def _load_allowed_types(cls: Any) -> dict[str, frozenset[type]]:
    """Return the types that JSON values of a dataclass's fields may have; resolving them takes too long to repeat."""
    hints = get_type_hints(cls)
    return {field.name: _list_json_types(hints[field.name]) for field in dataclasses.fields(cls)}


def _list_json_types(hint: Any) -> frozenset[type]:
    """Return the JSON types of a type hint: an `int` is also a valid `float`, and a tuple is written as a list."""
    plain_types = {get_origin(hint) or hint} if get_origin(hint) in (dict, list, tuple) else {*get_args(hint)} or {hint}
    plain_types = {get_origin(plain_type) or plain_type for plain_type in plain_types}
    extra_types = ({int} if float in plain_types else set()) | ({list} if tuple in plain_types else set())
    return frozenset({NoneType if plain_type is None else plain_type for plain_type in plain_types} | extra_types)
