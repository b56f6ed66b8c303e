"""An evaluation as files: the report, tables, figures."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from ftlab.core.errors import ConfigError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import Names
from ftlab.evaluation import csv_tables
from ftlab.evaluation.evaluate import Inspection
from ftlab.reporting import evaluation_plots, fonts
from ftlab.reporting.html.document import document

NAMES = (
    "report.html",
    "pictures.csv",
    "classes.csv",
    "confusion.csv",
    "confusion.png",
    "classes.png",
    "reliability.png",
)


def content(name: str, found: Inspection, model: str, run: str, known: Names) -> bytes:
    """What a file of `NAMES` holds.

    Args:
        found: what is told.
        model: its title.
        run: the run's name.
        known: the classes' names for people; tables have the classes' own.
    """
    if name == "report.html":
        return document(found, model, run, partial(class_names.say, names=known)).encode()
    stem, _, ending = name.partition(".")
    if ending == "csv":
        # The mark at the beginning tells spreadsheets that it is UTF-8.
        return str(getattr(csv_tables, stem)(found)).encode("utf-8-sig")
    say = fonts.namer(known)
    figure = {
        "confusion": lambda: evaluation_plots.confusion_figure(found, say),
        "classes": lambda: evaluation_plots.classes_figure(found, say),
        "reliability": lambda: evaluation_plots.reliability_figure(found),
    }[stem]()
    stream = io.BytesIO()
    figure.savefig(stream, format=ending, dpi=120)
    return stream.getvalue()


def write(folder: Path, found: Inspection, model: str, run: str, known: Names) -> list[Path]:
    """All of them into a folder, which is made; what is there of the same names is replaced. For the rest see
    `content`.

    Raises:
        ConfigError: it cannot be written.
    """
    written = []
    for name in NAMES:
        file = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content(name, found, model, run, known))
        except OSError as cause:
            raise ConfigError("config.out", file=file, cause=cause.strerror or cause) from cause
        written.append(file)
    return written
