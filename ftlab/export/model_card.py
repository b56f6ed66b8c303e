"""The model card of an export: its `README.md`."""

from __future__ import annotations

from typing import Any

from ftlab.core import messages
from ftlab.export.formats import ExportFormat
from ftlab.export.model_source import ModelSource
from ftlab.export.parity import ParityReport
from ftlab.export.run_card import RunFacts, describe_run, escape_markdown, join_sections


def build_model_card(
    source: ModelSource,
    export_format: ExportFormat,
    report: ParityReport | None,
    facts: RunFacts | None = None,
    *,
    forced: bool,
    numbers: str = "float32",
    structure_only: bool = False,
    loading_lines: str = "",
) -> str:
    """Write what the model is, how it was trained, and how its export agrees with it.

    Args:
        source: the model.
        export_format: of the export.
        report: of the check; None if none was made.
        facts: of the run; None without one.
        forced: the check has failed, and the files were wanted all the same.
        numbers: how they are stored, see `ExportOptions.numbers`.
        structure_only: structure and metadata were read back, but nothing here can run the format.
        loading_lines: Python that loads the model; empty if the format is no matter of Python.

    Returns:
        Markdown.
    """
    predictor = source.predictor
    prep = predictor.prep
    unsure_key = "export.card_unsure" if source.threshold else "export.card_never_unsure"
    values: dict[str, Any] = {
        "title": predictor.title,
        "format": export_format.name,
        "numbers": numbers,
        "backbone": predictor.spec.title,
        "count": len(predictor.class_names),
        "classes": ", ".join(map(escape_markdown, predictor.class_names)),
        "side": prep.side,
        "resize": prep.resize,
        "interpolation": prep.interpolation,
        "mean": ", ".join(f"{value:g}" for value in prep.mean),
        "std": ", ".join(f"{value:g}" for value in prep.std),
        "unsure": messages.get_text(unsure_key, threshold=source.threshold),
        "temperature": source.temperature,
    }
    parts = [messages.get_text("export.card", **values)]
    if loading_lines:
        parts.append(messages.get_text("export.card_loading", lines=loading_lines.rstrip()))
    if structure_only:
        parts.append(messages.get_text("export.card_not_run"))
    else:
        parts.append(describe_check(report, forced=forced))
    if facts is not None:
        parts.append(describe_run(facts))
    return join_sections(*parts)


def describe_check(report: ParityReport | None, *, forced: bool) -> str:
    """Return the section of a model card about the check, Markdown.

    Args:
        report: of the check; None if none was made.
        forced: the check has failed, and the files were wanted all the same.

    Returns:
        Markdown.
    """
    if report is None:
        return messages.get_text("export.card_unchecked")
    table = "\n".join(f"| {name} | {value} |" for name, value in list_check_rows(report))
    key = "export.card_forced" if forced else "export.card_checked"
    return messages.get_text(key, table=table)


def list_check_rows(report: ParityReport) -> list[tuple[str, str]]:
    """Return the rows of the table of a check: what was measured, and the value.

    Args:
        report: of the check.

    Returns:
        Pairs of texts.
    """
    same_class = f"{report.same_class} / {report.images}"
    if report.min_agreement:
        same_class = messages.get_text("export.least", value=same_class, share=report.min_agreement)
    map_difference = "–" if report.largest_map_difference is None else f"{report.largest_map_difference:.2g}"
    return [
        (messages.get_text("export.row_images"), str(report.images)),
        (
            messages.get_text("export.row_difference", bound=f"{report.bound:g}"),
            f"{report.largest_difference:.2g}",
        ),
        (messages.get_text("export.row_mean"), f"{report.mean_difference:.2g}"),
        (messages.get_text("export.row_class"), same_class),
        (messages.get_text("export.row_changed"), str(report.changed_class)),
        (messages.get_text("export.row_map"), map_difference),
        (messages.get_text("export.row_size"), f"{report.megabytes:.1f} MB"),
        (
            messages.get_text("export.row_time"),
            f"{report.milliseconds:.0f} ms / {report.own_milliseconds:.0f} ms",
        ),
    ]
