"""Tell rows with several labels, which ftlab does not train on, from those with one. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.manifests.columns import ListColumns
from ftlab.data.manifests.json_tables import LABEL_SEPARATOR
from ftlab.data.manifests.path_resolver import ListRow
from ftlab.data.sources.listing import DatasetProblem

_MAX_SEVERAL_SHARE = 0.05
"""Fraction of rows with several labels above which the whole list is refused."""
_SEPARATORS = (LABEL_SEPARATOR, ";", ",")


def drop_rows(rows: list[ListRow], columns: ListColumns, file: Path, problems: list[DatasetProblem]) -> list[ListRow]:
    """Return the rows with one label; the others become problems.

    Args:
        rows: of a list.
        columns: its columns.
        file: the list.
        problems: extended in place.

    Returns:
        The rows that can be used.

    Raises:
        DataError: many rows have several labels: the list is made for another task.
    """
    labels = {row.label for row in rows}
    separators = (*_SEPARATORS, " ") if columns.may_hold_several else _SEPARATORS
    several = {label for label in labels if _is_several(label, labels, separators)}
    if columns.holds_tags:
        several |= _find_tag_lists(labels)
    if not several:
        return rows
    several_rows = [row for row in rows if row.label in several]
    example = several_rows[0]
    if len(several_rows) > _MAX_SEVERAL_SHARE * len(rows) and len(several_rows) > 1:
        raise DataError("data.list_multilabel", file=file, line=example.line, example=example.label[:100])
    problems += [
        DatasetProblem(row.raw_path, "list_several_labels", {"line": row.line, "labels": row.label[:100]})
        for row in several_rows
    ]
    return [row for row in rows if row.label not in several]


def _find_tag_lists(labels: Collection[str]) -> set[str]:
    """Return the labels of several words of which another label has one too: `haze primary`, `clear primary`."""
    counts = Counter(word for label in labels for word in set(label.split()))
    return {label for label in labels if " " in label and any(counts[word] > 1 for word in label.split())}


def _is_several(label: str, labels: Collection[str], separators: Sequence[str]) -> bool:
    """Return whether a label consists of several: of parts that are labels of other rows, or with `|` between them."""
    for separator in separators:
        if separator in label:
            parts = [part.strip() for part in label.split(separator)]
            if (
                len(parts) > 1
                and all(parts)
                and (separator == LABEL_SEPARATOR or all(part in labels for part in parts))
            ):
                return True
    return False
