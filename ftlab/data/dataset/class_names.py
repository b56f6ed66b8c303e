"""Names of classes for people, in their language: from `labels.csv` beside the pictures or in a run, or shipped.

`labels.csv` has a column `class` (the folder's name) and one a language, by its code: class,en,zh. What it does not
name keeps its own name. It is shown, never used: files, tables and predictions for programs have the classes' own.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.data.dataset import manifest
from ftlab.data.sources.listing import DatasetProblem

LABELS_FILE_NAME = "labels.csv"
_CLASS_COLUMN = "class"
_MAX_FILE_BYTES = 4 << 20
"""Bytes that a list of names may have."""
_SHIPPED_FOLDER = Path(__file__).with_suffix("")

DisplayNames = Mapping[str, Mapping[str, str]]
"""Class -> code of a language -> name."""


def find_display_names(folder: Path, classes: Sequence[str]) -> DisplayNames:
    """The names for the classes of a folder of pictures: of `labels.csv` in it or beside it; else, where ftlab ships
    names for every one of the classes, those. A list that cannot be read gives none: `find_label_problems` says so."""
    for file in _find_labels_files(folder):
        try:
            return read_display_names(file)
        except DataError:
            continue
    return next((names for names in _load_shipped_names() if set(classes) <= set(names)), {})


def read_display_names(file: Path) -> DisplayNames:
    """The names in a list.

    Raises:
        DataError: it cannot be read, or has no column `class` and one of a language.
    """
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise DataError("names.columns", file=file)
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError("names.unreadable", file=file, cause=getattr(cause, "strerror", None) or "UTF-8") from cause
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as cause:
        raise DataError("names.unreadable", file=file, cause=cause) from cause
    columns = set(rows[0]) if rows else set()
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
    """A list of names beside the pictures that cannot be read."""
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


def get_display_name(name: str, names: DisplayNames) -> str:
    """What a person reads for a class: its name in the language of the page, else in English, else its own.

    `FTLAB_LANGUAGE` counts here also where ftlab's own sentences are not in that language yet.
    """
    translations = names.get(_normalize_name(name), {})
    language = os.environ.get("FTLAB_LANGUAGE") or messages.current_language()
    return translations.get(language) or translations.get("en") or name


def select_display_names(names: DisplayNames, classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """The names of some classes, as plain JSON: for what travels with the weights."""
    return {name: dict(names[_normalize_name(name)]) for name in classes if _normalize_name(name) in names}


def _find_labels_files(folder: Path) -> list[Path]:
    """The list in the folder, or beside it. Others may have the same name: ours has a column `class`, and is no list
    of pictures."""
    for file in (folder / LABELS_FILE_NAME, folder.parent / LABELS_FILE_NAME):
        try:
            with open(file, "rb") as stream:
                columns = stream.readline(1000).decode("ascii", "replace").strip().split(",")
        except OSError:  # there is none
            continue
        if _CLASS_COLUMN in [column.strip('\ufffd" ') for column in columns] and not manifest.is_manifest(file):
            return [file]
    return []


@cache
def _load_shipped_names() -> tuple[DisplayNames, ...]:
    return tuple(read_display_names(file) for file in sorted(_SHIPPED_FOLDER.glob("*.csv")))


def _normalize_name(name: str) -> str:
    return unicodedata.normalize("NFC", name)
