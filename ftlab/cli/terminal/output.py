"""What commands print: results on standard output, a table for people or JSON lines; on standard error how far
they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from typing import Any

from tqdm import tqdm

from ftlab.core import messages


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


@contextmanager
def bar(key: str) -> Iterator[Any]:
    """A progress bar on a terminal, as a function (done, total)."""
    with tqdm(desc=messages.text(key), file=sys.stderr, leave=False, disable=not sys.stderr.isatty()) as shown:

        def move(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield move
