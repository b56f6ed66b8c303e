"""JSON that may be damaged is read, or refused by one of two exceptions; never believed where its types are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import json_fields


@dataclass(frozen=True)
class Record:
    """One field of each kind."""

    number: int
    share: float | None = None
    text: str = ""
    sizes: tuple[int, ...] = ()
    values: dict[str, object] | None = None


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, '{"a": ' * 200_000, "\x00", "nope"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting|Extra"):
        json_fields.parse_json(text)


@pytest.mark.parametrize("text", ["[1, 2]", "null", '["ab"]', "7", '"{}"'])
def test_a_file_that_holds_no_object_is_a_value_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no JSON object"):
        json_fields.read_json_object(file)


def test_values_of_the_declared_types_make_an_instance() -> None:
    values = {"number": 3, "share": 1, "sizes": [1], "values": {}, "added_later": 0}
    assert json_fields.build_dataclass(Record, values) == Record(3, 1, "", [1], {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {},
        *({"number": number} for number in ("3", 3.0, None, True, [3])),
        *({"number": 3, "share": share} for share in ("0.5", float("nan"), float("inf"), True)),
        *({"number": 3, **other} for other in ({"text": None}, {"sizes": 3}, {"values": [1]})),
    ],
)
def test_a_value_of_another_type_is_a_type_error(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        json_fields.build_dataclass(Record, values)


def test_a_key_that_is_no_field_can_be_refused() -> None:
    with pytest.raises(TypeError):
        json_fields.build_dataclass(Record, {"number": 3, "added_later": 0}, ignore_unknown=False)
