"""Results on standard output, as a table or as JSON lines, and progress bars on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from typing import Any, TextIO

from tqdm import tqdm

from ftlab.core import messages
from ftlab.core.errors import ProblemMessages

MAX_NAME_CHARS = 60
"""Characters of the name of a class above which it is shortened in tables."""


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """Print a value as one line of JSON, flushed at once for programs that read along.

    Args:
        value: to print.
        stream: where to; None: standard output.
    """
    print(dumps(value, ensure_ascii=False), file=stream, flush=True)


def shorten_name(name: str) -> str:
    """Return a name of a class for a column of a table: a long one without its middle."""
    if len(name) <= MAX_NAME_CHARS:
        return name
    end_chars = MAX_NAME_CHARS // 3
    return f"{name[: MAX_NAME_CHARS - end_chars - 1]}…{name[-end_chars:]}"


def print_table(column_names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table with columns as wide as their widest cell; columns of integers are aligned to the right.

    Args:
        column_names: header.
        rows: cells of any type, as many per row as there are columns.
    """
    cells = [list(column_names), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(column_names))]
    right_aligned = [all(row[i].replace(",", "").isdigit() for row in cells[1:]) for i in range(len(column_names))]
    for row in cells:
        parts = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right_aligned, strict=True)
        )
        print("  ".join(parts).rstrip())


def print_problem(location: str, problem: ProblemMessages, stream: TextIO | None = None) -> None:
    """Print what is wrong with a file and what to do, on one line.

    Args:
        location: the file as shown to the user.
        problem: gives the two sentences.
        stream: where to print; None: standard output.
    """
    text = messages.get_text("cli.problem", file=location, problem=problem.problem, remedy=problem.remedy)
    print(text, file=stream)


@contextmanager
def open_progress_bar(key: str) -> Iterator[Any]:
    """Open a progress bar on standard error, shown only on a terminal.

    Args:
        key: key of its title in the message file.

    Yields:
        A function (done, total) that updates the bar.
    """
    with tqdm(
        desc=messages.get_text(key), file=sys.stderr, leave=False, disable=not sys.stderr.isatty()
    ) as progress_bar:

        def update_bar(done_count: int, total_count: int) -> None:
            progress_bar.total = total_count
            progress_bar.update(done_count - progress_bar.n)  # tqdm takes increments

        yield update_bar
