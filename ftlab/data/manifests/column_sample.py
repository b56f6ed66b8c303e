"""First rows of a list, and which columns their values make labels. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.manifests.column_names import has_image_suffix, is_number, normalize_name, parse_flag
from ftlab.data.manifests.image_index import ImageIndex

MIN_IMAGE_SHARE = 0.5
"""Fraction of values that must be images for a column without a telling name to be the one of paths."""

_MAX_SHOWN_CLASSES = 4
_MIN_ONE_HOT_SHARE = 0.9
"""Fraction of rows with exactly one mark for the columns to be the classes."""


@dataclass
class ColumnSample:
    """First rows of a table, and what is known about its columns."""

    names: list[str]
    rows: list[list[str]]
    index: ImageIndex | None
    normalized: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Normalize the names."""
        self.normalized = [normalize_name(name) for name in self.names]

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return len(self.names) or max((len(row) for row in self.rows), default=0)

    def values(self, column: int) -> list[str]:
        """Return the values of a column that are not empty."""
        return [value for row in self.rows if column < len(row) and (value := row[column].strip())]

    def find_names(self, candidates: Sequence[str]) -> list[int]:
        """Return the columns of these names, in the order of the candidates."""
        return [self.normalized.index(name) for name in candidates if name in self.normalized]

    def has_images(self, column: int) -> bool:
        """Return whether most values of a column have the suffix of an image."""
        values = self.values(column)
        return bool(values) and sum(map(has_image_suffix, values)) >= MIN_IMAGE_SHARE * len(values)

    def finds_images(self, column: int, min_share: float = 0.0) -> bool:
        """Return whether images of the data set have the values of a column as their names."""
        values = self.values(column)
        if self.index is None or not values:
            return False
        count = self.index.count_found(values)
        return count > 0 and count >= min_share * len(values)


def begins_with_images(rows: list[list[str]], index: ImageIndex) -> bool:
    """Return whether a cell of the first row is the name of an image as those below it are, with the same affix."""
    for column in range(len(rows[0])):
        values = [row[column].strip() for row in rows if column < len(row)]
        if not all(map(is_number, values)) and 0 < index.count_found(values[1:]) < index.count_found(values):
            return True
    return False


def find_class_columns(sample: ColumnSample, columns: list[int], file: Path) -> tuple[tuple[str, int], ...]:
    """Return the columns of a table with one column per class, or nothing.

    Args:
        sample: first rows of the table.
        columns: columns that may be classes.
        file: for the error.

    Returns:
        Names and positions.

    Raises:
        DataError: all other columns are such, but images are often in several of the classes.
    """
    flag_columns = [
        column
        for column in columns
        if sample.names[column].strip()
        and sample.values(column)
        and all(parse_flag(value) is not None for value in sample.values(column))
    ]
    if len(flag_columns) < 2:
        return ()
    counts = [
        sum(parse_flag(row[column]) is True for column in flag_columns if column < len(row)) for row in sample.rows
    ]
    if counts and sum(count == 1 for count in counts) < _MIN_ONE_HOT_SHARE * len(counts):
        if flag_columns == columns and sum(count > 1 for count in counts) > (1 - _MIN_ONE_HOT_SHARE) * len(counts):
            names = ", ".join(sample.names[column].strip() for column in flag_columns[:_MAX_SHOWN_CLASSES])
            more = f" … ({len(flag_columns)})" if len(flag_columns) > _MAX_SHOWN_CLASSES else ""
            raise DataError("data.list_attributes", file=file, example=names + more)
        return ()
    return tuple((sample.names[column].strip(), column) for column in flag_columns)


def find_finest_column(sample: ColumnSample, columns: list[int]) -> int | None:
    """Return the column of whole numbers that determines all others, as a breed its species; None if none is alone.

    Args:
        sample: first rows of the table.
        columns: candidates, which hold numbers.

    Returns:
        The column; its values must occur often enough to be classes.
    """
    if not all(value.isdigit() for column in columns for value in sample.values(column)):
        return None
    values = {column: sample.values(column) for column in columns}
    finest = [
        column
        for column in columns
        if all(
            len(set(zip(values[column], values[other], strict=False))) == len(set(values[column])) for other in columns
        )
    ]
    return finest[0] if len(finest) == 1 and repeats(sample.values(finest[0])) else None


def repeats(values: list[str]) -> bool:
    """Return whether values occur often enough to be classes, not captions, measurements or names."""
    return len(set(values)) <= max(2, len(values) // 2)
