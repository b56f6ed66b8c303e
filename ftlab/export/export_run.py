"""Export of a run: files, description, check and model card, put in place only when all is well."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftlab.core import file_io, interruption
from ftlab.core.errors import DataError, ExportError
from ftlab.data.dataset.catalog import load_run_catalog
from ftlab.evaluation import datasets
from ftlab.export import model_card, model_source, parity, run_card, space_card
from ftlab.export.description_file import DESCRIPTION_FILE_NAME, LOADING_FILE_NAME
from ftlab.export.formats import ExportFormat, ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.parity import ParityReport
from ftlab.export.run_card import RunFacts
from ftlab.runs.directory import Run

CARD_FILE_NAME = "README.md"
CHECK_FILE_NAME = "check.json"
ZIP_SUFFIX = ".zip"


@dataclass(frozen=True)
class ExportResult:
    """An export that was made.

    Attributes:
        path: folder or zip file.
        report: of the check; None if none was made.
        forced: the check has failed, and the files were wanted all the same.
        numbers: how they are stored, see `ExportOptions.numbers`.
        structure_only: structure and metadata were read back, but nothing here can run the format.
    """

    path: Path
    report: ParityReport | None
    forced: bool = False
    numbers: str = "float32"
    structure_only: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "out": str(self.path),
            "check": self.report.to_json() if self.report else None,
            "forced": self.forced,
            "structure_only": self.structure_only,
        }


class FailedCheckError(ExportError):
    """An export beyond the bound of its format; nothing was written.

    Attributes:
        report: of the check.
    """

    def __init__(self, format_name: str, report: ParityReport) -> None:
        """Say by how much the export differs."""
        super().__init__(
            "export.check",
            format=format_name,
            difference=f"{report.largest_difference:.2g}",
            bound=f"{report.bound:g}",
            changed=report.changed_class,
            same=report.same_class,
            n=report.images,
        )
        self.report = report


def export_run(
    run: Run,
    export_format: ExportFormat,
    out_path: Path,
    options: ExportOptions,
    *,
    weights_choice: str = "best",
    check: bool = True,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
) -> ExportResult:
    """Export the model of a run.

    Errors of loading the model propagate. Nothing is at `out_path` after an error.

    Args:
        run: with weights.
        export_format: the format.
        out_path: a folder that does not exist or is empty; or a file that ends in `.zip` and does not exist.
        options: of the format.
        weights_choice: `best` or `last`.
        check: compare the exported model with the trained one on the run's validation images.
        force: write the files although the check fails.
        progress: called as images are compared.

    Returns:
        What was made.

    Raises:
        ExportError: the format cannot store this, or the place is taken or cannot be written.
        FailedCheckError: the check fails.
    """
    check_target(out_path)
    export_format.check_options(options, check=check)
    format_module = export_format.load()
    check = check and export_format.has_model  # a script has nothing to compare, and no model card
    image_paths, facts = _read_run(run, export_format, weights_choice, check=check)
    source = model_source.load_model_source(run, weights_choice)
    try:
        out_path.parent.mkdir(parents=True, exist_ok=True)
        with _make_work_folder(out_path) as folder:
            format_module.write_files(source, folder, options)
            report = None
            # What does not run here is opened too: its structure and metadata are read back.
            exported_model = format_module.open_model(folder) if check else None
            if image_paths and exported_model:
                bound = export_format.get_bound(options)
                report = parity.compare_models(source, exported_model, image_paths, bound, progress)
                report = _complete_report(report, folder, export_format.get_min_agreement(options))
                if not report.passed and not force:
                    raise FailedCheckError(export_format.name, report)
            forced, structure_only = bool(report and not report.passed), check and not export_format.runs_here
            result = ExportResult(out_path, report, forced, options.numbers, structure_only)
            if facts:
                _write_descriptions(run, source, folder, export_format, result, facts)
            _put_in_place(folder, out_path)
    except OSError as cause:
        raise ExportError("export.write", path=out_path, cause=cause.strerror or cause) from cause
    return result


@contextmanager
def _make_work_folder(out_path: Path) -> Iterator[Path]:
    """Yield an empty folder beside the place of an export; what killed exports left there is removed before."""
    file_io.remove_stale_parts_of(out_path)
    with file_io.private_folder(out_path) as work_folder, interruption.remove_folder_at_end(work_folder):
        (folder := work_folder / "files").mkdir()
        yield folder


def _complete_report(report: ParityReport, folder: Path, min_agreement: float) -> ParityReport:
    """Return a report with the size of the files in a folder and the share of images that must get the same class."""
    return replace(report, megabytes=file_io.get_folder_size(folder) / 1e6, min_agreement=min_agreement)


def check_target(out_path: Path) -> None:
    """Check that an export overwrites nothing.

    Args:
        out_path: see `export_run`.

    Raises:
        ExportError: there is a file, or a folder with files.
    """
    is_free_folder = out_path.is_dir() and out_path.suffix != ZIP_SUFFIX and not any(out_path.iterdir())
    if out_path.is_symlink() or (out_path.exists() and not is_free_folder):
        raise ExportError("export.exists", path=out_path)


def _read_run(
    run: Run, export_format: ExportFormat, weights_choice: str, *, check: bool
) -> tuple[list[Path], RunFacts | None]:
    """Read what an export needs to know of its run besides the model.

    Args:
        run: the run.
        export_format: the format.
        weights_choice: `best` or `last`.
        check: the exported model will be compared, where the format runs here.

    Returns:
        The images to compare, and the facts for the model card; none for a format that brings its own.

    Raises:
        ExportError: there is nothing to compare any more.
    """
    if not export_format.has_model:
        return [], None
    run_catalog = load_run_catalog(run)
    image_paths: list[Path] = []
    if check and export_format.runs_here:
        try:
            dataset = datasets.select_split(run_catalog, "val", run.name)
        except DataError as cause:
            raise ExportError("export.no_images", run=run.name) from cause
        image_paths = [dataset.root / item.path for item in dataset.items]
    evaluates = bool(image_paths) and export_format.is_repository
    return image_paths, run_card.collect_run_facts(run, run_catalog, weights_choice, evaluates=evaluates)


def _build_card(
    run: Run, source: ModelSource, folder: Path, export_format: ExportFormat, result: ExportResult, facts: RunFacts
) -> str:
    """Return the model card; a Space's has metadata, a repository's also figures, which are written beside it.

    Args:
        run: the run.
        source: its model.
        folder: of the files.
        export_format: the format.
        result: of the check.
        facts: of the run.
    """
    loading_path = folder / LOADING_FILE_NAME
    card = model_card.build_model_card(
        source,
        export_format,
        result.report,
        facts,
        forced=result.forced,
        numbers=result.numbers,
        structure_only=result.structure_only,
        loading_lines=loading_path.read_text(encoding="utf-8") if loading_path.exists() else "",
    )
    if export_format.space_sdk:
        front_matter = space_card.build_front_matter(source, facts, export_format.space_sdk)
        return f"{front_matter}{card}\n{space_card.describe_use(export_format.space_sdk)}".rstrip()
    if not export_format.is_repository:
        return card
    return export_format.load().complete_card(card, source, folder, facts, run.load_history())


def _write_descriptions(
    run: Run, source: ModelSource, folder: Path, export_format: ExportFormat, result: ExportResult, facts: RunFacts
) -> None:
    """Write description, check and model card beside the files of the format, which may bring some of them itself.

    Args:
        run: the run.
        source: the model.
        folder: of the files.
        export_format: the format.
        result: of the check.
        facts: of the run.
    """
    check_values: dict[str, Any] = {"format": export_format.name, "numbers": result.numbers, "forced": result.forced}
    check_values |= {"check": result.report.to_json() if result.report else None}
    check_values["structure_only"] = result.structure_only
    contents = {
        DESCRIPTION_FILE_NAME: json.dumps(source.describe(), ensure_ascii=False, indent=2),
        CHECK_FILE_NAME: json.dumps(check_values, indent=2),
        CARD_FILE_NAME: _build_card(run, source, folder, export_format, result, facts),
    }
    for name, content in contents.items():
        if not (folder / name).exists():
            (folder / name).write_text(content + "\n", encoding="utf-8")


def _put_in_place(folder: Path, out_path: Path) -> None:
    """Move the finished folder to its place, or pack it.

    Args:
        folder: with all files.
        out_path: see `export_run`.
    """
    if out_path.suffix == ZIP_SUFFIX:
        with file_io.atomic_write(out_path) as part_path, zipfile.ZipFile(part_path, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
            check_target(out_path)  # another export may have been faster
        return
    check_target(out_path)
    if out_path.is_dir():
        out_path.rmdir()
    file_io.move_path(folder, out_path)
