"""Manifests: lists of images and labels (CSV, JSON Lines, JSON or text), and the problems in them by line. No torch.

    path,label,split        path; file, filename, image …    label; class, category …    split; subset, set
    ants/1.jpg,ants,train   {"file_name": "ants/1.jpg", "label": "ants"}

Paths are relative to the manifest's folder, or names of images somewhere below the root, with or without their
endings; they stay below the root. Without a split column the split is random.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.folders.folder_words import SPLIT_ALIASES
from ftlab.data.manifests import label_names, multi_labels
from ftlab.data.manifests.column_names import has_image_suffix
from ftlab.data.manifests.columns import ListColumns, detect_columns, missing_column_error
from ftlab.data.manifests.image_index import ImageIndex
from ftlab.data.manifests.list_splits import find_path_splits, parse_split
from ftlab.data.manifests.path_resolver import ListRow, PathResolver
from ftlab.data.manifests.tables import Table, open_table
from ftlab.data.manifests.text_files import TableRow
from ftlab.data.sources.listing import LOOSE_MANIFEST_SUFFIXES, DatasetProblem, ImagesByClass

SAMPLE_ROWS = 200
"""Rows from which the columns are recognized."""
PROBE_BYTES = 1 << 20
"""Bytes that are read of a file to see whether it is a manifest."""


@dataclass(frozen=True)
class ListSource:
    """A manifest, and what its name says.

    Attributes:
        file: absolute path, links resolved.
        split: split of the rows that name none; "" for none.
    """

    file: Path
    split: str = ""


@dataclass
class Manifest:
    """Content of one or several manifests.

    Attributes:
        images_by_split: images by split and class, with their sizes in bytes; key "" for rows without a split.
        line_numbers: line of each image, from 1; empty where there are several lists.
        problems: rows that are not used, or not as the user may expect.
    """

    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)


def is_manifest(file: Path) -> bool:
    """Return whether a file is a manifest: whether it has recognizable columns of paths and labels."""
    try:
        return probe_columns(file, ImageIndex(file.parent)).has_labels
    except DataError:
        return False


def probe_columns(file: Path, index: ImageIndex | None) -> ListColumns:
    """Recognize the columns of a manifest from its beginning; a file that is none raises a `DataError`.

    Args:
        file: the file.
        index: images that ids are compared with; None: ids are not recognized by their values.

    Returns:
        The columns.

    Raises:
        missing_column_error: the values of a text or JSON file are no images.
    """
    columns, rows = _detect_table_columns(open_table(file, [], PROBE_BYTES), index)
    if file.suffix.lower() in LOOSE_MANIFEST_SUFFIXES:
        # Names of classes look like a list too: `{"cat": 0}`.
        values = [cells[columns.path].strip() for _, cells in islice(rows, SAMPLE_ROWS) if len(cells) > columns.path]
        if not any(map(has_image_suffix, values)) and (index is None or not index.count_found(values)):
            raise missing_column_error(file, "paths", columns.names)
    return columns


def read_manifest(file: Path) -> Manifest:
    """Read a manifest of the images in its folder and below.

    A file that cannot be read, or that has no columns of paths and labels, raises a `DataError`.

    Args:
        file: absolute path, links resolved.

    Returns:
        The images of the rows that can be used, and a problem for each of the others.
    """
    return read_manifests([ListSource(file)], ImageIndex(file.parent))


def read_manifests(sources: Sequence[ListSource], index: ImageIndex) -> Manifest:
    """Read manifests that together describe one data set.

    A file that cannot be read, or that has no columns of paths and labels, raises a `DataError`.

    Args:
        sources: the manifests.
        index: images of the data set; paths of the result are relative to its root.

    Returns:
        The images of the rows that can be used, and a problem for each of the others.
    """
    builder = _ManifestBuilder(PathResolver(index), several=len(sources) > 1)
    for source in sources:
        builder.add_list(source, index)
    builder.drop_conflicts()
    return builder.manifest


def _detect_table_columns(table: Table, index: ImageIndex | None) -> tuple[ListColumns, Iterator[TableRow]]:
    """Return the columns of a table, and its rows without the header; an unknown table raises a `DataError`."""
    rows = list(islice(table.rows, SAMPLE_ROWS))
    columns = detect_columns([cells for _, cells in rows], table.file, table.names, index)
    return columns, chain(rows[columns.has_header and table.names is None :], table.rows)


def _describe_reading(source: ListSource, columns: ListColumns) -> list[DatasetProblem]:
    """Return a note on how a list is read where it may be meant otherwise: by unusual columns, or as one split."""
    notes = []
    if not columns.is_plain:
        label_names = columns.label_name or ", ".join(name for name, _ in columns.classes)
        values: dict[str, str | int] = {"path": columns.path_name, "label": label_names[:200]}
        notes.append(DatasetProblem(source.file.name, "list_used", values))
    if columns.is_finest and columns.label is not None:
        values = {"column": columns.label + 1}
        notes.append(DatasetProblem(source.file.name, "list_finest_column", values))
    if columns.other_label_names:
        values = {"column": columns.label_name, "others": ", ".join(columns.other_label_names)[:200]}
        notes.append(DatasetProblem(source.file.name, "list_label_column", values))
    notes += [DatasetProblem(source.file.name, "list_fold", {"column": name}) for name in columns.unused_splits]
    if source.split:
        notes.append(DatasetProblem(source.file.name, "list_is_split", {"split": source.split}))
    return notes


def _split_by_paths(rows: list[ListRow], source: ListSource, problems: list[DatasetProblem]) -> None:
    """Take the splits that the paths of a list name, and report it.

    Args:
        rows: of a list without splits; changed in place.
        source: the list.
        problems: extended in place.
    """
    splits = find_path_splits([row.raw_path for row in rows])
    for row, split in zip(rows, splits, strict=False):
        row.split = split
    if splits:
        names = ", ".join(split for split in SPLIT_ALIASES if split in splits)
        problems.append(DatasetProblem(source.file.name, "list_path_splits", {"names": names}))


class _ManifestBuilder:
    """Adds the rows of lists to a manifest, each image once.

    Args:
        resolver: of the data set.
        several: whether several lists are added, so that problems must name the list.
    """

    def __init__(self, resolver: PathResolver, *, several: bool) -> None:
        self.manifest, self.resolver, self.several = Manifest(), resolver, several
        self.assignments: dict[str, tuple[str, str, str, int]] = {}
        self.conflicting_paths: set[str] = set()

    def add_list(self, source: ListSource, index: ImageIndex) -> None:
        """Add the rows of a list.

        Args:
            source: the list.
            index: images of the data set.

        Raises:
            missing_column_error: it has no labels. One that cannot be read raises a `DataError` too.
        """
        problems: list[DatasetProblem] = []
        table = open_table(source.file, problems)
        columns, table_rows = _detect_table_columns(table, index)
        if not columns.has_labels:
            raise missing_column_error(source.file, "labels", columns.names)
        rows = self._collect_rows(source, columns, table_rows, problems)
        rows = multi_labels.drop_rows(rows, columns, source.file, problems)
        if columns.split is None and not source.split:
            _split_by_paths(rows, source, problems)
        label_names.unify_labels(rows, source.file, problems)
        label_names.spell_out_numbers(rows, source.file, index.root, problems)
        self.resolver.resolve_rows(rows, source.file, source.split, problems)
        for row in rows:
            if row.error_code:
                problems.append(self.resolver.describe_error(row))
            else:
                self._assign(row, source, problems)
        problems += _describe_reading(source, columns)
        list_name: dict[str, str | int] = {"list": source.file.name} if self.several else {}
        self.manifest.problems += [
            DatasetProblem(problem.file, problem.code, problem.values | list_name)
            if list_name and "line" in problem.values and problem.file != source.file.name
            else problem
            for problem in problems
        ]

    def _collect_rows(
        self, source: ListSource, columns: ListColumns, table_rows: Iterator[TableRow], problems: list[DatasetProblem]
    ) -> list[ListRow]:
        """Return the rows that have a path, a label and a known split; the others become problems.

        Args:
            source: the list.
            columns: its columns.
            table_rows: its rows.
            problems: extended in place.
        """
        rows: list[ListRow] = []
        path_column, width = columns.path, columns.width
        splits: dict[str, str] = {"": source.split}
        for line, cells in table_rows:
            if len(cells) < width:
                problems.append(DatasetProblem(source.file.name, "list_line", {"line": line}))
                continue
            raw_path, label, raw_split = (
                cells[path_column].strip(),
                columns.read_label(cells),
                columns.read_split(cells),
            )
            if raw_split not in splits:
                splits[raw_split] = parse_split(raw_split)
            if not raw_path:
                problems.append(DatasetProblem(source.file.name, "list_no_path", {"line": line}))
            elif not label:
                problems.append(DatasetProblem(raw_path, "list_no_label", {"line": line}))
            elif raw_split and not splits[raw_split]:
                problems.append(DatasetProblem(raw_path, "list_split", {"line": line, "split": raw_split}))
            else:
                normalized = label if label.isascii() else unicodedata.normalize("NFC", label)
                rows.append(ListRow(line, raw_path, normalized, splits[raw_split]))
        return rows

    def _assign(self, row: ListRow, source: ListSource, problems: list[DatasetProblem]) -> None:
        """Add the image of a row to its class, or report it if it was there before.

        Args:
            row: with a path.
            source: its list.
            problems: extended in place.
        """
        path = row.path
        if path not in self.assignments:
            self.assignments[path] = (row.split, row.label, source.file.name, row.line)
            if not self.several:
                self.manifest.line_numbers[path] = row.line
            self.manifest.images_by_split.setdefault(row.split, {}).setdefault(row.label, {})[path] = row.size_bytes
            return
        first_split, first_label, first_list, first_line = self.assignments[path]
        same_list = first_list == source.file.name
        values: dict[str, str | int] = {
            "line": row.line,
            "first": first_line if same_list else f"{first_line} ({first_list})",
        }
        if first_label != row.label:
            # Which label is right nobody knows.
            self.conflicting_paths.add(path)
            problems.append(DatasetProblem(path, "list_two_labels", values | {"other": first_label}))
        elif first_split != row.split:
            # The same label in two splits keeps the first split.
            problems.append(DatasetProblem(path, "list_two_splits", values | {"other": first_split}))
        else:
            problems.append(DatasetProblem(path, "list_twice", values))

    def drop_conflicts(self) -> None:
        """Remove the images with two labels, once and at the end: an image may have conflicted in several rows."""
        for path in self.conflicting_paths:
            split, label, _, _ = self.assignments[path]
            del self.manifest.images_by_split[split][label][path]
