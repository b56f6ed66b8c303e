"""Recognize the columns of a list of images: paths, labels (one column, or one per class) and splits. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.data.manifests.column_names import (
    FLAG_SPLITS,
    GUESSED_SPLIT_NAMES,
    ID_NAMES,
    LABEL_NAMES,
    LABEL_TEXT_NAMES,
    MULTI_LABEL_NAMES,
    NO_LABEL_NAMES,
    PATH_NAMES,
    SPLIT_NAMES,
    TAG_NAMES,
    USUAL_LABEL_NAMES,
    ends_with_label_word,
    has_image_suffix,
    is_number,
    is_split_name,
    normalize_name,
    parse_flag,
)
from ftlab.data.manifests.column_sample import (
    MIN_IMAGE_SHARE,
    ColumnSample,
    begins_with_images,
    find_class_columns,
    find_finest_column,
    repeats,
)
from ftlab.data.manifests.image_index import ImageIndex
from ftlab.data.manifests.json_tables import LABEL_SEPARATOR
from ftlab.data.manifests.list_splits import is_partition, parse_split
from ftlab.data.sources.listing import MANIFEST_SUFFIXES

_MAX_SHOWN_NAMES, _MAX_SHOWN_CHARS = 8, 200


@dataclass(frozen=True)
class ListColumns:
    """Columns of a list by their positions.

    Attributes:
        path: column of paths or ids.
        label: column of labels; None for a table with a column per class, or without labels.
        split: column of splits; None: there is none.
        classes: name and position of each column of a table with one per class.
        label_name: name of the label column, "" without a header.
        other_label_names: further columns that might be the labels.
        flag_splits: where columns are flags of splits, each column, the split of its images, and that of the others.
        unused_splits: names of columns of splits or folds that are not used.
        is_finest: whether the labels are those numbers, of several columns, that determine all others.
        has_header: whether the first row names the columns.
        names: names of all columns.
    """

    path: int
    label: int | None = None
    split: int | None = None
    classes: tuple[tuple[str, int], ...] = ()
    label_name: str = ""
    other_label_names: tuple[str, ...] = ()
    flag_splits: tuple[tuple[int, str, str], ...] = ()
    unused_splits: tuple[str, ...] = ()
    is_finest: bool = False
    has_header: bool = True
    names: tuple[str, ...] = ()

    @property
    def has_labels(self) -> bool:
        """Return whether the list has labels."""
        return self.label is not None or bool(self.classes)

    @property
    def path_name(self) -> str:
        """Return the name of the column of paths, "" without a header."""
        return self.names[self.path].strip() if self.names else ""

    @property
    def is_plain(self) -> bool:
        """Return whether the columns have the usual names, or the list has no header and only the usual columns."""
        if not self.names:
            return True
        return (
            normalize_name(self.path_name) in PATH_NAMES
            and self.label is not None
            and normalize_name(self.label_name) in USUAL_LABEL_NAMES
        )

    @property
    def may_hold_several(self) -> bool:
        """Return whether the name of the label column announces several labels per image."""
        return normalize_name(self.label_name) in MULTI_LABEL_NAMES

    @property
    def holds_tags(self) -> bool:
        """Return whether each word in the label column is a label of its own."""
        return normalize_name(self.label_name) in TAG_NAMES

    @property
    def width(self) -> int:
        """Return the number of cells that a row must have."""
        label_columns = [index for _, index in self.classes] if self.label is None else [self.label]
        return max(self.path, *label_columns, 0) + 1

    def read_label(self, cells: Sequence[str]) -> str:
        """Return the label of a row; several ones are joined by `LABEL_SEPARATOR`, none is ""."""
        if self.label is not None:
            return cells[self.label].strip()
        return LABEL_SEPARATOR.join(name for name, index in self.classes if parse_flag(cells[index]))

    def read_split(self, cells: Sequence[str]) -> str:
        """Return the split of a row as written, or that of the first flag that is set; "" for none."""
        if self.split is None or self.split >= len(cells):
            return ""
        if not self.flag_splits:
            return cells[self.split].strip()
        flagged = (split for column, split, _ in self.flag_splits if column < len(cells) and parse_flag(cells[column]))
        return next(flagged, self.flag_splits[0][2])


def detect_columns(
    first_rows: list[list[str]], file: Path, names: list[str] | None = None, index: ImageIndex | None = None
) -> ListColumns:
    """Recognize the columns of a list by their names and their values.

    Args:
        first_rows: cells of the first rows; the first one may be a header unless `names` is given.
        file: for the error.
        names: names of the columns where the format defines them.
        index: images of the data set; None: only names with the suffix of an image are recognized.

    Returns:
        The columns; without labels where there is no column of them.

    Raises:
        missing_column_error: no column holds images.
        DataError: the table cannot be used for another reason.
    """
    has_header = names is None and _is_header(first_rows, index)
    column_names = names if names is not None else [cell.strip() for cell in first_rows[0]] if has_header else []
    sample = ColumnSample(column_names, first_rows[1:] if has_header else first_rows, index)
    path = _find_path_column(sample)
    if path is None:
        if sample.rows and not column_names and file.suffix.lower() in MANIFEST_SUFFIXES:
            raise DataError("data.list_header", file=file, count=sample.width)
        has_label = bool(sample.find_names(LABEL_NAMES))
        raise missing_column_error(file, "paths" if has_label else "paths_and_labels", column_names)
    columns = ListColumns(path, names=tuple(column_names), has_header=has_header)
    if not column_names:
        return _find_unnamed_columns(sample, columns, file)
    return _find_named_columns(sample, columns, file)


def missing_column_error(file: Path, missing: str, names: Sequence[str]) -> DataError:
    """Return the error for a list without a column.

    Args:
        file: the list.
        missing: `paths`, `labels` or `paths_and_labels`.
        names: names of its columns.
    """
    shown_names = ", ".join(name.strip() for name in names[:_MAX_SHOWN_NAMES])[:_MAX_SHOWN_CHARS]
    shown_names = shown_names or messages.get_text("list.no_names")
    if len(names) > _MAX_SHOWN_NAMES:
        shown_names += ", …"
    return DataError("data.list_columns", file=file, missing=messages.get_text(f"list.{missing}"), found=shown_names)


def _is_header(rows: list[list[str]], index: ImageIndex | None) -> bool:
    """Return whether the first row names the columns."""
    if not rows:
        return False
    cells = rows[0]
    if len(cells) > 1 and any(map(has_image_suffix, cells)):
        return False
    known_names = {*PATH_NAMES, *ID_NAMES, *LABEL_NAMES, *SPLIT_NAMES}
    if any(normalize_name(cell) in known_names for cell in cells):
        return True
    if len(cells) < 2 or index is None:
        return True
    return not any(index.can_find(cell.strip()) for cell in cells) and not begins_with_images(rows, index)


def _find_path_column(sample: ColumnSample) -> int | None:
    """Return the column of paths: by its name, else by its values; None where there is none."""
    named_columns = sample.find_names(PATH_NAMES)
    for column in named_columns:
        if sample.has_images(column) or (len(named_columns) > 1 and sample.finds_images(column)):
            return column
    if named_columns:
        return named_columns[0]
    image_columns = [column for column in range(sample.width) if sample.has_images(column)]
    if image_columns:
        return image_columns[0]
    for column in sample.find_names(ID_NAMES):
        if sample.finds_images(column):
            return column
    for column in range(sample.width):
        # Small numbers are the names of images by chance.
        if not all(map(is_number, sample.values(column))) and sample.finds_images(column, MIN_IMAGE_SHARE):
            return column
    return None


def _find_unnamed_columns(sample: ColumnSample, columns: ListColumns, file: Path) -> ListColumns:
    """Find the labels and splits of a table without a header.

    Args:
        sample: its first rows.
        columns: with the column of paths.
        file: for the error.

    Returns:
        The columns.

    Raises:
        DataError: several columns may be the labels.
    """
    other_columns = [column for column in range(sample.width) if column != columns.path and sample.values(column)]
    split = next(
        (
            column
            for column in other_columns
            if all(parse_split(value) for value in sample.values(column)) and (len(other_columns) > 1 or column > 1)
        ),
        None,
    )
    other_columns = [column for column in other_columns if column != split]
    if len(other_columns) == 1 and is_partition(file, sample.values(other_columns[0])):
        other_columns = []
    if len(other_columns) > 1:
        # Boxes, sizes and counts are numbers: a single column of words is the label.
        word_columns = [column for column in other_columns if not all(map(is_number, sample.values(column)))]
        finest = find_finest_column(sample, other_columns) if not word_columns else None
        if finest is not None:
            return ListColumns(columns.path, finest, split, has_header=False, is_finest=True)
        if len(word_columns) != 1:
            raise DataError("data.list_header", file=file, count=sample.width)
        other_columns = word_columns
    return ListColumns(columns.path, other_columns[0] if other_columns else None, split, has_header=False)


def _find_named_columns(sample: ColumnSample, columns: ListColumns, file: Path) -> ListColumns:
    """Find the labels and splits of a table with a header.

    Args:
        sample: its first rows.
        columns: with the column of paths.
        file: for the error.

    Returns:
        The columns.
    """
    split, flag_splits = _find_split_column(sample)
    split_columns = {split, *(column for column, _, _ in flag_splits)}
    other_columns = [column for column in range(len(sample.names)) if column not in (columns.path, *split_columns)]
    label_candidates = [column for column in sample.find_names(LABEL_NAMES) if column in other_columns]
    base = {"path": columns.path, "split": split, "flag_splits": flag_splits, "names": columns.names}
    base["has_header"] = columns.has_header
    base["unused_splits"] = tuple(
        sample.names[column] for column in other_columns if is_split_name(sample.names[column])
    )
    if label_candidates:
        label = _choose_label_column(sample, label_candidates)
        other_names = tuple(sample.names[column].strip() for column in label_candidates if column != label)
        return ListColumns(label=label, label_name=sample.names[label].strip(), other_label_names=other_names, **base)  # type: ignore[arg-type]
    classes = find_class_columns(sample, other_columns, file)
    if classes:
        return ListColumns(classes=classes, **base)  # type: ignore[arg-type]
    other_columns = [
        column
        for column in other_columns
        if sample.normalized[column] and sample.normalized[column] not in NO_LABEL_NAMES and sample.values(column)
    ]
    label_like = [column for column in other_columns if ends_with_label_word(sample.names[column])]
    other_columns = label_like if len(label_like) == 1 else other_columns
    if len(other_columns) == 1 and repeats(sample.values(other_columns[0])):
        return ListColumns(label=other_columns[0], label_name=sample.names[other_columns[0]].strip(), **base)  # type: ignore[arg-type]
    return ListColumns(**base)  # type: ignore[arg-type]


def _choose_label_column(sample: ColumnSample, candidates: list[int]) -> int:
    """Return the first candidate, or, if it holds numbers, one that spells them out."""
    if all(map(is_number, sample.values(candidates[0]))):
        for column in candidates[1:]:
            values = sample.values(column)
            if sample.normalized[column] in LABEL_TEXT_NAMES and values and not all(map(is_number, values)):
                return column
    return candidates[0]


def _find_split_column(sample: ColumnSample) -> tuple[int | None, tuple[tuple[int, str, str], ...]]:
    """Return the column of splits, and if it is a flag, all flags, see `ListColumns`; None where there is none."""
    for column in sample.find_names(SPLIT_NAMES):
        if sample.normalized[column] != "set" or _holds_splits(sample, column):
            return column, ()
    for column in sample.find_names(GUESSED_SPLIT_NAMES):
        if _holds_splits(sample, column):
            return column, ()
    flags = tuple(
        (column, *FLAG_SPLITS[sample.normalized[column]])
        for column in sample.find_names([*FLAG_SPLITS])
        if all(parse_flag(value) is not None for value in sample.values(column))
    )
    return (flags[0][0], flags) if flags else (None, ())


def _holds_splits(sample: ColumnSample, column: int) -> bool:
    """Return whether all values of a column are names of splits."""
    values = sample.values(column)
    return bool(values) and all(parse_split(value) for value in values)
