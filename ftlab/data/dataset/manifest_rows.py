"""Parse the rows of a manifest (CSV or JSON Lines): encoding, delimiter, header, columns. No torch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.sources.listing import DatasetProblem

MAX_MANIFEST_BYTES = 1 << 30
"""Size of a manifest in bytes above which it is refused, because it is read as a whole."""

_COLUMN_ALIASES = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"),
    "label": ("label", "class", "category", "class_name", "target"),
    "split": ("split", "subset", "set"),
}
"""Header names of each column, lower case; the first one that is there counts."""
_DELIMITERS = (",", ";", "\t")
_DELIMITER_SAMPLE_ROWS = 50
"""Rows from which the delimiter is detected."""

ManifestRow = tuple[int, dict[str, str]]
"""Line number, from 1, and the values of the columns `path`, `label` and `split`, "" where there is none."""


def iter_rows(file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    """Yield the rows that have a path and a label, even if empty; problems of the others are added to `problems`.

    Args:
        file: the manifest.
        problems: extended in place.

    Yields:
        Line number and values by column.
    """
    text = _read_text(file, problems)
    is_json_lines = file.suffix.lower() in (".jsonl", ".ndjson")
    yield from _iter_json_rows(text, file, problems) if is_json_lines else _iter_csv_rows(text, file, problems)


def _read_text(file: Path, problems: list[DatasetProblem]) -> str:
    """Read a text file as UTF-8 or, with a byte order mark, UTF-16; else as cp1252, which is reported.

    Args:
        file: the manifest.
        problems: extended in place.

    Returns:
        Its text, without the byte order mark.

    Raises:
        DataError: the file is too large or cannot be read.
    """
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise DataError("data.list_large", file=file, limit=MAX_MANIFEST_BYTES >> 20)
        data = file.read_bytes()
    except OSError as cause:
        raise DataError("data.unreadable", folder=file, cause=cause.strerror or cause) from cause
    try:
        is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        # Excel on Windows saves "CSV" in the code page of the system, most often this one.
        problems.append(DatasetProblem(file.name, "list_encoding"))
        return data.decode("cp1252", "replace")


def _iter_json_rows(text: str, file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    """Yield the rows of a JSON Lines manifest; the columns are those of its first object.

    Args:
        text: content of the file.
        file: its name, for errors and problems.
        problems: extended in place.

    Yields:
        Line number and values by column.

    Raises:
        DataError: the first line is no JSON object.
    """
    column_names: dict[str, str] | None = None
    # Not `splitlines`: it also splits at characters such as U+2028, which may stand in a JSON string.
    for line, raw_line in enumerate(text.split("\n"), 1):
        if not raw_line.strip():
            continue
        try:
            values = json.loads(raw_line)
        except (ValueError, RecursionError):  # RecursionError: a line of thousands of brackets
            values = None
        if not isinstance(values, dict):
            if column_names is None:
                raise DataError("data.list_json", file=file, line=line)
            problems.append(DatasetProblem(file.name, "list_line", {"line": line}))
            continue
        column_names = column_names or _match_columns(list(values), file)
        row = {column: values.get(name, "") for column, name in column_names.items()}
        yield line, {column: _value_to_text(row.get(column, "")) for column in _COLUMN_ALIASES}


def _value_to_text(value: object) -> str:
    """Return a JSON string or integer as text; "" for anything else, which is no label and no path."""
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _iter_csv_rows(text: str, file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    """Yield the rows of a CSV manifest, with or without a header.

    Args:
        text: content of the file.
        file: its name, for errors and problems.
        problems: extended in place.

    Yields:
        Line number at which the row begins, and values by column.

    Raises:
        DataError: the file is no CSV or is empty.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_detect_delimiter(text))
    column_indices: dict[str, int] | None = None
    lines_read = 0
    try:
        for cells in reader:
            # A quoted cell may contain newlines: `line_num` is the last line of the row, not its first.
            line, lines_read = lines_read + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if column_indices is None:
                column_indices, header = _find_columns(cells, file)
                if header:
                    continue
            if len(cells) <= max(column_indices["path"], column_indices["label"]):
                problems.append(DatasetProblem(file.name, "list_line", {"line": line}))
                continue
            row = {column: cells[index].strip() for column, index in column_indices.items() if index < len(cells)}
            yield line, {column: row.get(column, "") for column in _COLUMN_ALIASES}
    except csv.Error as cause:
        raise DataError("data.list_line", file=file, line=lines_read + 1, cause=cause) from cause
    if column_indices is None:
        raise DataError("data.list_columns", file=file, found="–")


def _detect_delimiter(text: str) -> str:
    """Return the delimiter that cuts the most of the first rows into the same number of columns.

    `csv.Sniffer` is not used: it also guesses letters as delimiters.
    """

    def score_delimiter(delimiter: str) -> tuple[int, int]:
        """Return the number of rows as wide as the first one, and their width; (0, 0) for a single column."""
        try:
            rows = list(islice(csv.reader(io.StringIO(text), delimiter=delimiter), _DELIMITER_SAMPLE_ROWS))
        except csv.Error:
            return 0, 0
        widths = [len(row) for row in rows if row]
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    return max(_DELIMITERS, key=score_delimiter)


def _find_columns(cells: list[str], file: Path) -> tuple[dict[str, int], bool]:
    """Return the index of each column, and whether this first row is a header."""
    # `PurePath` would drop a trailing separator, and so take a folder for an image.
    if os.path.splitext(cells[0].strip())[1].lower() in IMAGE_SUFFIXES and len(cells) > 1:  # noqa: PTH122
        return {column: index for index, column in enumerate(_COLUMN_ALIASES) if index < len(cells)}, False
    column_names = _match_columns(cells, file)
    return {column: cells.index(name) for column, name in column_names.items()}, True


def _match_columns(names: list[str], file: Path) -> dict[str, str]:
    """Find the columns by their names.

    Args:
        names: header of the file.
        file: for the error.

    Returns:
        The name of the column for `path`, for `label` and, if there is one, for `split`.

    Raises:
        DataError: there is no column for paths or none for labels.
    """
    # Reversed, so that of two columns of the same name the first one counts.
    normalized_names = {name.strip().casefold(): name for name in reversed(names)}
    columns = {
        column: normalized_names[alias]
        for column, aliases in _COLUMN_ALIASES.items()
        if (alias := next((candidate for candidate in aliases if candidate in normalized_names), None))
    }
    if "path" not in columns or "label" not in columns:
        header_text = ", ".join(name.strip() for name in names[:8]) or "–"
        raise DataError("data.list_columns", file=file, found=header_text[:200])
    return columns
