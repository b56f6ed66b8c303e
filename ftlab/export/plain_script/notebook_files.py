"""The format `notebook`: `train.ipynb`, which opens in Jupyter and in Colab, `split.json` and a README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftlab.core import messages
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.plain_script import script_files
from ftlab.export.plain_script.script_run import ScriptRun, read_script_run
from ftlab.export.plain_script.sections import write_sections

NOTEBOOK_FILE_NAME = "train.ipynb"


def write_files(source: ModelSource, folder: Path, _options: ExportOptions) -> None:
    """Write the notebook; see `FormatModule`.

    Args:
        source: a model with its run.
        folder: an empty folder.
    """
    script_run = read_script_run(source)
    text = json.dumps(build_notebook(script_run), ensure_ascii=False, indent=1)
    (folder / NOTEBOOK_FILE_NAME).write_text(text + "\n", encoding="utf-8")
    script_files.write_side_files(script_run, folder, NOTEBOOK_FILE_NAME)


def build_notebook(script_run: ScriptRun) -> dict[str, Any]:
    """Build a notebook of format 4.5.

    Args:
        script_run: the run.

    Returns:
        Plain JSON.
    """
    intro = messages.get_text("export.notebook_intro", backbone=script_run.spec.title, mode=script_run.config.mode)
    usage = messages.get_text("export.notebook_usage", folder=script_run.shown_folder)
    cells = [_make_cell("markdown", f"{intro}\n\n{script_files.describe_differences(script_run)}\n\n{usage}", "intro")]
    for section in write_sections(script_run, is_notebook=True):
        cells.append(_make_cell("markdown", f"## {section.title}\n\n{section.explanation}", f"{section.key}-text"))
        cells.append(_make_cell("code", section.code, section.key))
    metadata = {
        "accelerator": "GPU",
        "colab": {"name": NOTEBOOK_FILE_NAME, "provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _make_cell(cell_type: str, text: str, cell_id: str) -> dict[str, Any]:
    """Return a cell of a notebook, with an id that is the same at each export."""
    cell: dict[str, Any] = {
        "cell_type": cell_type,
        "id": cell_id,
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return cell | ({"execution_count": None, "outputs": []} if cell_type == "code" else {})
