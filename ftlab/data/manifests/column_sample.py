"""First rows of a list, and what their values say about its columns. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ftlab.data.manifests.column_names import has_image_suffix, normalize_name

MIN_IMAGE_SHARE = 0.5
"""Fraction of values that must be images for a column without a telling name to be the one of paths."""

CanFind = Callable[[str], bool]
"""Returns whether a value is the name of an image of the data set."""


@dataclass
class ColumnSample:
    """First rows of a table, and what is known about its columns."""

    names: list[str]
    rows: list[list[str]]
    can_find: CanFind | None
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
        if self.can_find is None or not values:
            return False
        count = sum(map(self.can_find, values))
        return count > 0 and count >= min_share * len(values)
