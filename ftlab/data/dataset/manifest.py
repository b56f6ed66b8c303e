"""A list of pictures and labels (CSV or JSON lines) → which picture is whose, and what is amiss, by line. No torch.

    path,label,split        path; file, filename, image …    label; class, category …    split; subset, set
    ants/1.jpg,ants,train   {"file_name": "ants/1.jpg", "label": "ants"}

Paths are relative to the list's folder and stay below it. Without a split the pictures are dealt by the seed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset.split import SPLIT_ALIASES
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

MAX_MANIFEST_BYTES = 1 << 30
"""Bytes of a list, above which it is refused."""

_COLUMN_ALIASES = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"),
    "label": ("label", "class", "category", "class_name", "target"),
    "split": ("split", "subset", "set"),
}
_DELIMITERS = (",", ";", "\t")
_DELIMITER_SAMPLE_ROWS = 50
"""Rows that tell the delimiter."""
_SPLIT_BY_ALIAS = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}

ManifestRow = tuple[int, dict[str, str]]
"""Line, from 1, and what stands there by column: `path`, `label`, `split`."""


@dataclass
class Manifest:
    """What a list says.

    Attributes:
        images_by_split: pictures by split and class, with their sizes in bytes; "" where no split is named.
        line_numbers: line of each picture.
        problems: rows that are not used, or not as the person may think.
    """

    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)


def is_manifest(file: Path) -> bool:
    """Whether a file is a list of pictures and labels: whether its columns can be told."""
    try:
        next(_iter_rows(file, []), None)
    except DataError:
        return False
    return True


def read_manifest(file: Path) -> Manifest:
    """What a list says of the pictures in its folder and below.

    Args:
        file: absolute, links resolved.

    Raises:
        DataError: the file cannot be read, or no columns of paths and labels can be told.
    """
    manifest = Manifest()
    resolver = _PathResolver(file.parent)
    assignments: dict[str, tuple[str, str]] = {}
    conflicting_paths: set[str] = set()
    for line, row in _iter_rows(file, manifest.problems):
        label, split = unicodedata.normalize("NFC", row["label"]), _SPLIT_BY_ALIAS.get(row["split"].casefold(), "")
        display_path = row["path"] or file.name
        if not row["path"]:
            manifest.problems.append(DatasetProblem(display_path, "list_no_path", {"line": line}))
        elif not label:
            manifest.problems.append(DatasetProblem(display_path, "list_no_label", {"line": line}))
        elif row["split"] and not split:
            manifest.problems.append(DatasetProblem(display_path, "list_split", {"line": line, "split": row["split"]}))
        else:
            path, size = resolver.resolve_file(row["path"], line, manifest.problems)
            if path in assignments:
                first_split, first_label = assignments[path]
                code, first_value = (
                    ("list_two_labels", first_label) if first_label != label else ("list_two_splits", first_split)
                )
                values: dict[str, str | int] = {
                    "line": line,
                    "first": manifest.line_numbers[path],
                    "other": first_value,
                }
                manifest.problems.append(
                    DatasetProblem(path, code if assignments[path] != (split, label) else "list_twice", values)
                )
                if first_label != label:
                    conflicting_paths.add(path)
            elif path:
                assignments[path], manifest.line_numbers[path] = (split, label), line
                manifest.images_by_split.setdefault(split, {}).setdefault(label, {})[path] = size
    for path in conflicting_paths:
        split, label = assignments[path]
        del manifest.images_by_split[split][label][path]
    return manifest


class _PathResolver:
    """The folder that the paths of a list lead into, and not out of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inside_cache: dict[str, bool] = {}

    def resolve_file(self, raw_path: str, line: int, problems: list[DatasetProblem]) -> tuple[str, int]:
        """The path relative to the root, posix, and the file's size; "" when it is not to be used."""
        path = self._to_relative(raw_path)
        code, disk_path = "", ""
        if path is None:
            code = "list_outside"
        elif format_name := UNSUPPORTED_FORMATS.get(os.path.splitext(path)[1].lower()):
            problems.append(DatasetProblem(path, "format", {"kind": format_name, "line": line}))
            return "", 0
        else:
            # The list may write accents otherwise than the disk does: macOS takes them apart.
            for disk_path in dict.fromkeys(
                (path, *(unicodedata.normalize(unicode_form, path) for unicode_form in ("NFC", "NFD")))
            ):
                code, size = self._check_file(disk_path)
                if code != "missing":
                    break
        if code:
            problems.append(DatasetProblem(raw_path, code, {"line": line}))
            return "", 0
        return disk_path, size

    def _to_relative(self, raw_path: str) -> str | None:
        """A path as written, posix and relative to the root; None when it leads out."""
        path = posixpath.normpath(raw_path.replace("\\", "/"))
        if os.path.isabs(path):
            folder, name = os.path.split(path)
            try:
                path = (Path(folder).resolve() / name).relative_to(self.root).as_posix()
            except (OSError, ValueError, RuntimeError):
                return None
        return None if path.startswith(("../", "/")) or path in ("..", ".") else path

    def _check_file(self, path: str) -> tuple[str, int]:
        """A problem's code, "" for none, and the file's size in bytes."""
        try:
            path.encode()
            file_stat = os.lstat(self.root / path)
            is_link = stat.S_ISLNK(file_stat.st_mode)
            if not self._is_inside(posixpath.dirname(path)) or (is_link and not self._is_inside(path)):
                return "link_out", 0
            if is_link:
                file_stat = os.stat(self.root / path)
        except PermissionError:
            return "permission", 0
        except (OSError, ValueError):  # also a NUL byte, or half a character
            return "missing", 0
        return ("" if stat.S_ISREG(file_stat.st_mode) else "not_a_picture"), file_stat.st_size

    def _is_inside(self, path: str) -> bool:
        is_inside = self.inside_cache.get(path)
        if is_inside is None:
            is_inside = self.inside_cache[path] = Path(os.path.realpath(self.root / path)).is_relative_to(self.root)
        return is_inside


def _iter_rows(file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    """The rows that have a path and a label, at least empty ones; what is amiss with others is added to `problems`."""
    text = _read_text(file, problems)
    is_json_lines = file.suffix.lower() in (".jsonl", ".ndjson")
    yield from _iter_json_rows(text, file, problems) if is_json_lines else _iter_csv_rows(text, file, problems)


def _read_text(file: Path, problems: list[DatasetProblem]) -> str:
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
        problems.append(DatasetProblem(file.name, "list_encoding"))
        return data.decode("cp1252", "replace")


def _iter_json_rows(text: str, file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    column_names: dict[str, str] | None = None
    for line, raw_line in enumerate(text.split("\n"), 1):
        if not raw_line.strip():
            continue
        try:
            values = json.loads(raw_line)
        except (ValueError, RecursionError):
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
    """A value of JSON as text: names and numbers; anything else is no label and no path."""
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _iter_csv_rows(text: str, file: Path, problems: list[DatasetProblem]) -> Iterator[ManifestRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_detect_delimiter(text))
    column_indices: dict[str, int] | None = None
    lines_read = 0
    try:
        for cells in reader:
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
    """The one that cuts the first rows into the same number of columns, the more the better."""

    def score_delimiter(delimiter: str) -> tuple[int, int]:
        try:
            rows = list(islice(csv.reader(io.StringIO(text), delimiter=delimiter), _DELIMITER_SAMPLE_ROWS))
        except csv.Error:
            return 0, 0
        widths = [len(row) for row in rows if row]
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    return max(_DELIMITERS, key=score_delimiter)


def _find_columns(cells: list[str], file: Path) -> tuple[dict[str, int], bool]:
    """The place of each column, and whether this row names them."""
    if os.path.splitext(cells[0].strip())[1].lower() in IMAGE_SUFFIXES and len(cells) > 1:
        return {column: index for index, column in enumerate(_COLUMN_ALIASES) if index < len(cells)}, False
    column_names = _match_columns(cells, file)
    return {column: cells.index(name) for column, name in column_names.items()}, True


def _match_columns(names: list[str], file: Path) -> dict[str, str]:
    """Which of the names stands for `path`, `label` and, if there, `split`."""
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
