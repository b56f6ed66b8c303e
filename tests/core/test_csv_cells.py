"""What a spreadsheet program would run stays a text; numbers stay numbers."""

from __future__ import annotations

import pytest

from ftlab.core.csv_cells import escape_formula


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "-",
        "--0.5",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "=",
        "-1.2.3",
        "-x.jpg",
        "\uff1d1+1",
        "+1 =2",
    ],
)
def test_what_begins_as_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["-0.5", "+3", "-1e-05", "-inf", "1.", "", "ants", "a=b", "a-b", " =1", -0.5, 7, None, True]
)
def test_everything_else_stays_as_it_is(cell: object) -> None:
    assert escape_formula(cell) is cell
