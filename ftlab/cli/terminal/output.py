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


def print_json(value: Any) -> None:
    """One line of JSON, seen at once by who reads along."""
    print(dumps(value, ensure_ascii=False), flush=True)


def print_table(column_names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [list(column_names), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(column_names))]
    right_aligned = [all(row[i].replace(",", "").isdigit() for row in cells[1:]) for i in range(len(column_names))]
    for row in cells:
        parts = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right_aligned, strict=True)
        )
        print("  ".join(parts).rstrip())


@contextmanager
def open_progress_bar(key: str) -> Iterator[Any]:
    """A progress bar on a terminal, as a function (done, total)."""
    with tqdm(
        desc=messages.get_text(key), file=sys.stderr, leave=False, disable=not sys.stderr.isatty()
    ) as progress_bar:

        def update_bar(done_count: int, total_count: int) -> None:
            progress_bar.total = total_count
            progress_bar.update(done_count - progress_bar.n)

        yield update_bar
