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
from ftlab.data.sources.listing import Problem

FILE = "labels.csv"
_CLASS = "class"
_LARGEST = 4 << 20
"""Bytes that a list of names may have."""
_SHIPPED = Path(__file__).with_suffix("")

Names = Mapping[str, Mapping[str, str]]
"""Class -> code of a language -> name."""


def of(folder: Path, classes: Sequence[str]) -> Names:
    """The names for the classes of a folder of pictures: of `labels.csv` in it or beside it; else, where ftlab ships
    names for every one of the classes, those. A list that cannot be read gives none: `amiss` says so."""
    for file in _beside(folder):
        try:
            return read(file)
        except DataError:
            continue
    return next((known for known in _shipped() if set(classes) <= set(known)), {})


def read(file: Path) -> Names:
    """The names in a list.

    Raises:
        DataError: it cannot be read, or has no column `class` and one of a language.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError("names.columns", file=file)
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError("names.unreadable", file=file, cause=getattr(cause, "strerror", None) or "UTF-8") from cause
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as cause:
        raise DataError("names.unreadable", file=file, cause=cause) from cause
    columns = set(rows[0]) if rows else set()
    languages = {str(one) for one in columns if one and one != _CLASS and len(one) <= 8}
    if _CLASS not in columns or not languages:
        raise DataError("names.columns", file=file)
    return {
        _composed(row[_CLASS]): {code: said.strip() for code in languages if (said := row[code] or "").strip()}
        for row in rows
        if row[_CLASS]
    }


def amiss(folder: Path) -> list[Problem]:
    """A list of names beside the pictures that cannot be read."""
    problems = []
    for file in _beside(folder):
        try:
            read(file)
        except DataError as wrong:
            problems.append(Problem(FILE, wrong.code.replace(".", "_"), {"cause": str(wrong.values.get("cause", ""))}))
    return problems


def say(name: str, names: Names) -> str:
    """What a person reads for a class: its name in the language of the page, else in English, else its own.

    `FTLAB_LANGUAGE` counts here also where ftlab's own sentences are not in that language yet.
    """
    told = names.get(_composed(name), {})
    wanted = os.environ.get("FTLAB_LANGUAGE") or messages.language()
    return told.get(wanted) or told.get("en") or name


def kept(names: Names, classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """The names of some classes, as plain JSON: for what travels with the weights."""
    return {name: dict(names[_composed(name)]) for name in classes if _composed(name) in names}


def _beside(folder: Path) -> list[Path]:
    """The list in the folder, or beside it. Others may have the same name: ours has a column `class`, and is no list
    of pictures."""
    for file in (folder / FILE, folder.parent / FILE):
        try:
            with open(file, "rb") as stream:
                columns = stream.readline(1000).decode("ascii", "replace").strip().split(",")
        except OSError:  # there is none
            continue
        if _CLASS in [one.strip('\ufffd" ') for one in columns] and not manifest.fits(file):
            return [file]
    return []


@cache
def _shipped() -> tuple[Names, ...]:
    return tuple(read(file) for file in sorted(_SHIPPED.glob("*.csv")))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
