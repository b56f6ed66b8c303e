"""The format `script`: `train.py`, `split.json` and a README."""

from __future__ import annotations

import json
from pathlib import Path

from ftlab.core import messages
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.plain_script.script_run import ScriptRun, read_script_run
from ftlab.export.plain_script.sections import write_sections

SCRIPT_FILE_NAME = "train.py"
SPLIT_FILE_NAME = "split.json"
README_FILE_NAME = "README.md"


def write_files(source: ModelSource, folder: Path, _options: ExportOptions) -> None:
    """Write the script; see `FormatModule`.

    Args:
        source: a model with its run.
        folder: an empty folder.
    """
    script_run = read_script_run(source)
    (folder / SCRIPT_FILE_NAME).write_text(write_script(script_run), encoding="utf-8")
    write_side_files(script_run, folder, SCRIPT_FILE_NAME)


def write_side_files(script_run: ScriptRun, folder: Path, file_name: str) -> None:
    """Write the split and the README.

    Args:
        script_run: the run.
        folder: of the files.
        file_name: of the script or notebook.
    """
    split_text = json.dumps(script_run.make_split(), ensure_ascii=False, indent=0)
    (folder / SPLIT_FILE_NAME).write_text(split_text + "\n", encoding="utf-8")
    usage_key = "script" if file_name == SCRIPT_FILE_NAME else "notebook"
    usage = messages.get_text(f"export.{usage_key}_usage", folder=script_run.shown_folder)
    if script_run.takes_weights_file and file_name == SCRIPT_FILE_NAME:
        package_name = script_run.spec.weights_package.replace("_", "-")
        values = {"folder": script_run.shown_folder, "file": script_run.spec.weights_file, "package": package_name}
        usage = f"{usage} {messages.get_text('export.script_offline', **values)}"
    readme = messages.get_text("export.script_readme", file=file_name, usage=usage, run=script_run.name)
    readme = f"{readme}\n{describe_differences(script_run)}\n\n{messages.get_text('export.script_small_differences')}"
    (folder / README_FILE_NAME).write_text(readme, encoding="utf-8")


def write_script(script_run: ScriptRun) -> str:
    """Return the text of `train.py`.

    Args:
        script_run: the run.

    Returns:
        Python text.
    """
    intro = messages.get_text("export.script_intro", backbone=script_run.spec.title, mode=script_run.config.mode)
    docstring = "\n\n".join([intro, describe_differences(script_run).replace("`", "")])
    # The text of a person's settings may hold anything.
    docstring = docstring.replace("\\", "\\\\").replace('"""', "'''")
    settings, *sections = write_sections(script_run, is_notebook=False)
    parts = [f'"""{docstring}\n"""\n\n{settings.code}']
    for section in sections:
        gap = "\n\n\n" if section.code.startswith(("class ", "def ", "@")) or _ends_in_block(parts[-1]) else "\n\n"
        parts.append(f"{gap}# {section.title}\n{section.code}")
    return "".join(parts) + "\n"


def _ends_in_block(text: str) -> bool:
    """Return whether a text ends inside a function, after which two lines stay empty."""
    return text.splitlines()[-1].startswith(" ")


def describe_differences(script_run: ScriptRun) -> str:
    """Return what the script promises: the accuracy of the run, or a list of settings that it cannot repeat."""
    differences = script_run.list_differences()
    if differences:
        listed = "\n".join(f"- {difference}" for difference in differences)
        return messages.get_text("export.script_differences", differences=listed)
    val_count = len(script_run.catalog.splits["val"])
    if script_run.best_accuracy is None:
        return messages.get_text("export.script_unmeasured")
    correct = round(script_run.best_accuracy * val_count)
    return messages.get_text("export.script_equal", correct=correct, count=val_count)
