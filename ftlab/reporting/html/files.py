"""An evaluation as files: report, CSV tables and figures."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from ftlab.core.errors import ConfigError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import DisplayNames
from ftlab.evaluation import csv_tables
from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting import evaluation_plots, fonts
from ftlab.reporting.html.document import render_document

REPORT_FILENAMES = (
    "report.html",
    "pictures.csv",
    "classes.csv",
    "confusion.csv",
    "confusion.png",
    "classes.png",
    "reliability.png",
)
"""Files that `write_report_files` writes, in this order."""

_CSV_FORMATTERS = {
    "pictures": csv_tables.format_image_table,
    "classes": csv_tables.format_class_table,
    "confusion": csv_tables.format_confusion_table,
}


def render_file(
    filename: str, evaluation: Evaluation, model_title: str, run_name: str, display_names: DisplayNames
) -> bytes:
    """Render one file of `REPORT_FILENAMES`.

    Args:
        filename: name of the file.
        evaluation: the evaluation.
        model_title: title of the model.
        run_name: name of the run.
        display_names: class names for people; the tables have the classes' own names.

    Returns:
        The content of the file.
    """
    if filename == "report.html":
        return render_document(
            evaluation, model_title, run_name, partial(class_names.get_display_name, names=display_names)
        ).encode()
    stem, _, suffix = filename.partition(".")
    if suffix == "csv":
        # With a byte order mark, without which Excel does not read the file as UTF-8.
        return _CSV_FORMATTERS[stem](evaluation).encode("utf-8-sig")
    format_class = fonts.make_class_formatter(display_names)
    # Functions, so that only the figure that is asked for is drawn.
    figure = {
        "confusion": lambda: evaluation_plots.plot_confusion_matrix(evaluation, format_class),
        "classes": lambda: evaluation_plots.plot_class_metrics(evaluation, format_class),
        "reliability": lambda: evaluation_plots.plot_reliability(evaluation),
    }[stem]()
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix, dpi=120)
    return stream.getvalue()


def write_report_files(
    folder: Path, evaluation: Evaluation, model_title: str, run_name: str, display_names: DisplayNames
) -> list[Path]:
    """Write all files of `REPORT_FILENAMES` into a folder; existing files of these names are replaced.

    Args:
        folder: created if it does not exist.
        evaluation: the evaluation.
        model_title: title of the model.
        run_name: name of the run.
        display_names: class names for people.

    Returns:
        Paths of the files.

    Raises:
        ConfigError: the folder or a file cannot be written.
    """
    written_paths = []
    for filename in REPORT_FILENAMES:
        file_path = folder / filename
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file_path.write_bytes(render_file(filename, evaluation, model_title, run_name, display_names))
        except OSError as cause:
            raise ConfigError("config.out", file=file_path, cause=cause.strerror or cause) from cause
        written_paths.append(file_path)
    return written_paths
