"""Display names of classes in the user's language: from `labels.csv` with the images or in a run, or shipped.

`labels.csv` has a column `class` (the folder's name) and one per language code: class,en,zh. Classes that it does not
name keep their own name. Display names are only shown: files, tables and predictions for programs contain the
classes' own names.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeGuard

from ftlab.core import file_io, messages
from ftlab.core.errors import DataError
from ftlab.data.manifests import manifest
from ftlab.data.sources.listing import DatasetProblem

LABELS_FILE_NAME = "labels.csv"
_CLASS_COLUMN = "class"
_MAX_FILE_BYTES = 4 << 20
"""Size in bytes above which a file of names is refused."""
_SHIPPED_FOLDER = Path(__file__).with_suffix("")
"""Folder of the names that ftlab ships: that of this module's name, `class_names/`."""

DisplayNames = Mapping[str, Mapping[str, str]]
"""Display name by class and language code: `{"ants": {"en": "Ants", "zh": "蚂蚁"}}`."""


def find_display_names(folder: Path, classes: Sequence[str]) -> DisplayNames:
    """Return the display names for the classes of a folder of images.

    A file that cannot be read gives no names here; `find_label_problems` reports it.

    Args:
        folder: root of the data set; `labels.csv` is in it or in its parent.
        classes: names of all classes.

    Returns:
        The names of `labels.csv`, else shipped names where they cover every class, else none.
    """
    for file in _find_labels_files(folder):
        try:
            return read_display_names(file)
        except DataError:
            continue
    return next((names for names in _load_shipped_names() if set(classes) <= set(names)), {})


def read_display_names(file: Path) -> DisplayNames:
    """Return the display names in a file.

    Args:
        file: a CSV file with a column `class` and one per language code.

    Returns:
        Display names by class, in Unicode normal form C.

    Raises:
        DataError: the file cannot be read, or has no column `class` or none of a language.
    """
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise DataError("names.columns", file=file)
        text = file_io.read_regular_file(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError("names.unreadable", file=file, cause=getattr(cause, "strerror", None) or "UTF-8") from cause
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as cause:
        raise DataError("names.unreadable", file=file, cause=cause) from cause
    columns = set(rows[0]) if rows else set()
    # A longer header is no language code (BCP 47 with a region has five or six letters, with a script seven or eight).
    languages = {str(column) for column in columns if column and column != _CLASS_COLUMN and len(column) <= 8}
    if _CLASS_COLUMN not in columns or not languages:
        raise DataError("names.columns", file=file)
    return {
        _normalize_name(row[_CLASS_COLUMN]): {
            language: translation.strip() for language in languages if (translation := row[language] or "").strip()
        }
        for row in rows
        if row[_CLASS_COLUMN]
    }


def find_label_problems(folder: Path) -> list[DatasetProblem]:
    """Return a problem for a `labels.csv` of a folder that cannot be read."""
    problems = []
    for file in _find_labels_files(folder):
        try:
            read_display_names(file)
        except DataError as error:
            problems.append(
                DatasetProblem(
                    LABELS_FILE_NAME, error.code.replace(".", "_"), {"cause": str(error.values.get("cause", ""))}
                )
            )
    return problems


def is_display_names(value: object) -> TypeGuard[DisplayNames]:
    """Return whether a value read from JSON has the form of `DisplayNames`."""
    return isinstance(value, dict) and all(
        isinstance(names, dict) and all(isinstance(name, str) for name in names.values()) for names in value.values()
    )


def get_display_name(name: str, names: DisplayNames) -> str:
    """Return the display name of a class: in the current language, else in English, else the class's own name.

    Languages that ftlab's own messages are not translated to are respected here too.
    """
    translations = names.get(_normalize_name(name), {})
    return translations.get(messages.requested_language()) or translations.get("en") or name


def select_display_names(names: DisplayNames, classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the display names of some classes as plain JSON, to be stored with the weights."""
    return {name: dict(names[_normalize_name(name)]) for name in classes if _normalize_name(name) in names}


def _find_labels_files(folder: Path) -> list[Path]:
    """Return the `labels.csv` of a folder or of its parent, as a list of at most one file.

    Other tools use the same file name: a file of display names has a column `class` and is not a manifest of images.
    """
    for file in (folder / LABELS_FILE_NAME, folder.parent / LABELS_FILE_NAME):
        try:
            with file_io.open_regular_file(file) as stream:
                # The header is enough, and a binary file may have no newline in its first gigabyte.
                columns = stream.readline(1000).decode("ascii", "replace").strip().split(",")
        except OSError:  # there is none
            continue
        if _CLASS_COLUMN in [column.strip('\ufffd" ') for column in columns] and not manifest.is_manifest(file):
            return [file]
    return []


@cache
def _load_shipped_names() -> tuple[DisplayNames, ...]:
    """Return the display names of each shipped file."""
    return tuple(read_display_names(file) for file in sorted(_SHIPPED_FOLDER.glob("*.csv")))


def _normalize_name(name: str) -> str:
    """Return a name in Unicode normal form C, as the names of classes are (macOS decomposes accents)."""
    return unicodedata.normalize("NFC", name)
