"""Results on standard output: a table for people, JSON lines for programs."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from typing import Any


def as_json(value: Any) -> None:
    """One line of JSON, seen at once by who reads along."""
    print(dumps(value, ensure_ascii=False), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    right = [all(row[i].replace(",", "").isdigit() for row in cells[1:]) for i in range(len(head))]
    for row in cells:
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        print("  ".join(parts).rstrip())
