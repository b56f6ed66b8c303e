"""Parse a file into a table of text cells: CSV, JSON Lines, JSON or lines of words. No torch."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.manifests import joined_lists, json_tables
from ftlab.data.manifests.column_names import has_image_suffix
from ftlab.data.manifests.text_files import TableRow, read_text
from ftlab.data.sources.listing import DatasetProblem

_DELIMITERS = (",", ";", "\t")
_DELIMITER_SAMPLE_ROWS = 50
"""Rows from which the delimiter is detected."""
_DELIMITER_SAMPLE_CHARS = 1 << 16
_WORD_SAMPLE_LINES = 200
"""Lines of a text file that decide how many words a line has."""
_IMAGE_COLUMN_NAME = "image"
"""Name of the first column where a header leaves it out."""
_EXCEL_DELIMITER_LINE = re.compile(r'"?sep=(.)"?\r?(?:\n|\Z)')
"""First line by which Excel tells itself the delimiter."""
_PATH_AND_REST = re.compile(
    rf"(?P<path>\S.*?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES, reverse=True)))}))\s+(?P<rest>\S.*)", re.I
)
"""A path, which may contain spaces, and what follows it."""


@dataclass
class Table:
    """A parsed file.

    Attributes:
        file: the file.
        rows: rows of cells; the first one is a header unless `names` is given.
        names: names of the columns where the format defines them; None where the first row may be a header.
    """

    file: Path
    rows: Iterator[TableRow]
    names: list[str] | None = None


def open_table(file: Path, problems: list[DatasetProblem], max_bytes: int | None = None) -> Table:
    """Read a file and parse it as its suffix says; a file that cannot be read or parsed raises a `DataError`.

    Args:
        file: the file; its rows are parsed while they are read.
        problems: extended in place by what is not read as the user may expect.
        max_bytes: read at most the first so many bytes, up to the last complete line; None: everything.

    Returns:
        The table.
    """
    suffix = file.suffix.lower()
    text = read_text(file, problems, None if suffix == ".json" else max_bytes)
    if suffix in (".jsonl", ".ndjson") or (suffix == ".json" and json_tables.holds_json_lines(text)):
        names, rows = json_tables.parse_json_lines(text, file, problems)
        return Table(file, rows, names)
    if suffix == ".json":
        names, rows = json_tables.parse_json(text, file)
        return Table(file, rows, names)
    joined = joined_lists.join_rows(file, text, problems) if suffix == ".txt" else None
    if joined:
        return Table(file, iter(joined.rows), joined.names)
    if suffix == ".txt" and not _has_delimiter(text):
        return Table(file, _iter_word_rows(text))
    return Table(file, _iter_csv_rows(text, file))


def _iter_csv_rows(text: str, file: Path) -> Iterator[TableRow]:
    """Yield the rows of a CSV file that are not blank, and the line at which each begins.

    Args:
        text: content of the file.
        file: its name, for errors.

    Yields:
        Line number and cells.

    Raises:
        DataError: a row cannot be parsed.
    """
    delimiter_line = _EXCEL_DELIMITER_LINE.match(text)
    lines_before = 0
    if delimiter_line:
        text, lines_before = text[delimiter_line.end() :], 1
    delimiter = delimiter_line[1] if delimiter_line else _detect_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines_read = 0
    try:
        for cells in reader:
            # A quoted cell may contain newlines: `line_num` is the last line of the row, not its first.
            line, lines_read = lines_before + lines_read + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield line, cells
    except csv.Error as cause:
        raise DataError("data.list_line", file=file, line=lines_before + lines_read + 1, cause=cause) from cause


def _detect_delimiter(text: str) -> str:
    """Return the delimiter that cuts the most of the first rows into the same number of columns.

    `csv.Sniffer` is not used: it also guesses letters as delimiters.
    """
    sample = text[:_DELIMITER_SAMPLE_CHARS]

    def score_delimiter(delimiter: str) -> tuple[int, int]:
        """Return the number of rows as wide as the first one, and their width; (0, 0) for a single column."""
        try:
            rows = list(islice(csv.reader(io.StringIO(sample), delimiter=delimiter), _DELIMITER_SAMPLE_ROWS))
        except csv.Error:
            return 0, 0
        widths = [len(row) for row in rows if row]
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    best = max(_DELIMITERS, key=score_delimiter)
    # A bar also separates several labels in one cell.
    return "|" if score_delimiter(best) == (0, 0) and score_delimiter("|") > (0, 0) else best


def _has_delimiter(text: str) -> bool:
    """Return whether most of the first lines of a text file have a delimiter, so that it is CSV by another name."""
    lines = [line for line in text[:_DELIMITER_SAMPLE_CHARS].split("\n")[:_DELIMITER_SAMPLE_ROWS] if line.strip()]
    has_bars = sum(has_image_suffix(line.partition("|")[0]) for line in lines if "|" in line) * 2 > len(lines)
    return has_bars or any(sum(delimiter in line for line in lines) * 2 > len(lines) for delimiter in _DELIMITERS)


def _iter_word_rows(text: str) -> Iterator[TableRow]:
    """Yield the rows of a text file: a path or an id, and after white space the label, which may have spaces itself.

    Args:
        text: content of the file; lines that begin with `#` are comments.

    Yields:
        Line number and cells: all words where every line has as many, else the first word and the rest of the line. A
        first line with the number of the others is left out; then the next one is the header, even if it does not name
        the column of the images (CelebA).
    """
    lines = [
        (line, stripped)
        for line, raw_line in enumerate(text.split("\n"), 1)
        if (stripped := raw_line.strip()) and not stripped.startswith("#")
    ]
    if len(lines) > 2 and lines[0][1].isdigit() and not any(content.isdigit() for _, content in lines[1:3]):
        line, content = lines[1]
        lines = lines[2:]
        names = content.split()
        has_all_names = len(names) == len(_split_words(lines[0][1]))
        yield line, names if has_all_names else [_IMAGE_COLUMN_NAME, *names]
    word_counts = {len(_split_words(content)) for _, content in lines[:_WORD_SAMPLE_LINES]}
    for line, content in lines:
        words = _split_words(content)
        yield line, words if len(word_counts) == 1 else [words[0], " ".join(words[1:])]


def _split_words(content: str) -> list[str]:
    """Return the path at the beginning of a line, which may contain spaces, and the words after it."""
    if match := _PATH_AND_REST.fullmatch(content):
        return [match["path"], *match["rest"].split()]
    return content.split()
