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
from ftlab.data.dataset.split import NAMES
from ftlab.data.images.decode import EXTENSIONS
from ftlab.data.images.diagnosis import FOREIGN
from ftlab.data.sources.listing import Pictures, Problem

LIMIT = 1 << 30
"""Bytes of a list, above which it is refused."""

_COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"),
    "label": ("label", "class", "category", "class_name", "target"),
    "split": ("split", "subset", "set"),
}
_DELIMITERS = (",", ";", "\t")
_LOOKED_AT = 50
"""Rows that tell the delimiter."""
_SPLIT_OF = {word: split for split, words in NAMES.items() for word in words}

Row = tuple[int, dict[str, str]]
"""Line, from 1, and what stands there by column: `path`, `label`, `split`."""


@dataclass
class Listed:
    """What a list says.

    Attributes:
        found: pictures by split and class, with their sizes in bytes; "" where no split is named.
        lines: line of each picture.
        problems: rows that are not used, or not as the person may think.
    """

    found: dict[str, Pictures] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def fits(file: Path) -> bool:
    """Whether a file is a list of pictures and labels: whether its columns can be told."""
    try:
        next(_rows(file, []), None)
    except DataError:
        return False
    return True


def read(file: Path) -> Listed:
    """What a list says of the pictures in its folder and below.

    Args:
        file: absolute, links resolved.

    Raises:
        DataError: the file cannot be read, or no columns of paths and labels can be told.
    """
    listed = Listed()
    place = _Place(file.parent)
    where: dict[str, tuple[str, str]] = {}
    doubtful: set[str] = set()
    for line, row in _rows(file, listed.problems):
        label, split = unicodedata.normalize("NFC", row["label"]), _SPLIT_OF.get(row["split"].casefold(), "")
        shown = row["path"] or file.name
        if not row["path"]:
            listed.problems.append(Problem(shown, "list_no_path", {"line": line}))
        elif not label:
            listed.problems.append(Problem(shown, "list_no_label", {"line": line}))
        elif row["split"] and not split:
            listed.problems.append(Problem(shown, "list_split", {"line": line, "split": row["split"]}))
        else:
            path, size = place.look(row["path"], line, listed.problems)
            if path in where:
                other, first = where[path]
                code, known = ("list_two_labels", first) if first != label else ("list_two_splits", other)
                values: dict[str, str | int] = {"line": line, "first": listed.lines[path], "other": known}
                listed.problems.append(Problem(path, code if where[path] != (split, label) else "list_twice", values))
                if first != label:
                    doubtful.add(path)
            elif path:
                where[path], listed.lines[path] = (split, label), line
                listed.found.setdefault(split, {}).setdefault(label, {})[path] = size
    for path in doubtful:
        split, label = where[path]
        del listed.found[split][label][path]
    return listed


class _Place:
    """The folder that the paths of a list lead into, and not out of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stays: dict[str, bool] = {}

    def look(self, written: str, line: int, problems: list[Problem]) -> tuple[str, int]:
        """The path relative to the root, posix, and the file's size; "" when it is not to be used."""
        path = self._relative(written)
        code, found = "", ""
        if path is None:
            code = "list_outside"
        elif suffix := FOREIGN.get(os.path.splitext(path)[1].lower()):
            problems.append(Problem(path, "format", {"kind": suffix, "line": line}))
            return "", 0
        else:
            # The list may write accents otherwise than the disk does: macOS takes them apart.
            for found in dict.fromkeys((path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))):
                code, size = self._facts(found)
                if code != "missing":
                    break
        if code:
            problems.append(Problem(written, code, {"line": line}))
            return "", 0
        return found, size

    def _relative(self, written: str) -> str | None:
        """A path as written, posix and relative to the root; None when it leads out."""
        path = posixpath.normpath(written.replace("\\", "/"))
        if os.path.isabs(path):
            folder, name = os.path.split(path)
            try:
                path = (Path(folder).resolve() / name).relative_to(self.root).as_posix()
            except (OSError, ValueError, RuntimeError):
                return None
        return None if path.startswith(("../", "/")) or path in ("..", ".") else path

    def _facts(self, path: str) -> tuple[str, int]:
        """A problem's code, "" for none, and the file's size in bytes."""
        try:
            path.encode()
            facts = os.lstat(self.root / path)
            linked = stat.S_ISLNK(facts.st_mode)
            if not self._below(posixpath.dirname(path)) or (linked and not self._below(path)):
                return "link_out", 0
            if linked:
                facts = os.stat(self.root / path)
        except PermissionError:
            return "permission", 0
        except (OSError, ValueError):  # also a NUL byte, or half a character
            return "missing", 0
        return ("" if stat.S_ISREG(facts.st_mode) else "not_a_picture"), facts.st_size

    def _below(self, path: str) -> bool:
        known = self.stays.get(path)
        if known is None:
            known = self.stays[path] = Path(os.path.realpath(self.root / path)).is_relative_to(self.root)
        return known


def _rows(file: Path, problems: list[Problem]) -> Iterator[Row]:
    """The rows that have a path and a label, at least empty ones; what is amiss with others is added to `problems`."""
    text = _text(file, problems)
    lines = file.suffix.lower() in (".jsonl", ".ndjson")
    yield from _json_lines(text, file, problems) if lines else _csv(text, file, problems)


def _text(file: Path, problems: list[Problem]) -> str:
    try:
        if file.stat().st_size > LIMIT:
            raise DataError("data.list_large", file=file, limit=LIMIT >> 20)
        data = file.read_bytes()
    except OSError as cause:
        raise DataError("data.unreadable", folder=file, cause=cause.strerror or cause) from cause
    try:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        problems.append(Problem(file.name, "list_encoding"))
        return data.decode("cp1252", "replace")


def _json_lines(text: str, file: Path, problems: list[Problem]) -> Iterator[Row]:
    names: dict[str, str] | None = None
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            values = json.loads(written)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            if names is None:
                raise DataError("data.list_json", file=file, line=line)
            problems.append(Problem(file.name, "list_line", {"line": line}))
            continue
        names = names or _named(list(values), file)
        given = {column: values.get(name, "") for column, name in names.items()}
        yield line, {column: _plain(given.get(column, "")) for column in _COLUMNS}


def _plain(value: object) -> str:
    """A value of JSON as text: names and numbers; anything else is no label and no path."""
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _csv(text: str, file: Path, problems: list[Problem]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    places: dict[str, int] | None = None
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if places is None:
                places, header = _places(cells, file)
                if header:
                    continue
            if len(cells) <= max(places["path"], places["label"]):
                problems.append(Problem(file.name, "list_line", {"line": line}))
                continue
            given = {column: cells[place].strip() for column, place in places.items() if place < len(cells)}
            yield line, {column: given.get(column, "") for column in _COLUMNS}
    except csv.Error as cause:
        raise DataError("data.list_line", file=file, line=before + 1, cause=cause) from cause
    if places is None:
        raise DataError("data.list_columns", file=file, found="–")


def _delimiter(text: str) -> str:
    """The one that cuts the first rows into the same number of columns, the more the better."""

    def regular(delimiter: str) -> tuple[int, int]:
        try:
            rows = list(islice(csv.reader(io.StringIO(text), delimiter=delimiter), _LOOKED_AT))
        except csv.Error:
            return 0, 0
        widths = [len(row) for row in rows if row]
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    return max(_DELIMITERS, key=regular)


def _places(cells: list[str], file: Path) -> tuple[dict[str, int], bool]:
    """The place of each column, and whether this row names them."""
    if os.path.splitext(cells[0].strip())[1].lower() in EXTENSIONS and len(cells) > 1:
        return {column: place for place, column in enumerate(_COLUMNS) if place < len(cells)}, False
    named = _named(cells, file)
    return {column: cells.index(name) for column, name in named.items()}, True


def _named(names: list[str], file: Path) -> dict[str, str]:
    """Which of the names stands for `path`, `label` and, if there, `split`."""
    plain = {name.strip().casefold(): name for name in reversed(names)}
    found = {
        column: plain[known]
        for column, words in _COLUMNS.items()
        if (known := next((word for word in words if word in plain), None))
    }
    if "path" not in found or "label" not in found:
        shown = ", ".join(name.strip() for name in names[:8]) or "–"
        raise DataError("data.list_columns", file=file, found=shown[:200])
    return found
