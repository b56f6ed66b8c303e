"""The command `scan`: classes, splits and problems of a data set."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.terminal.output import open_progress_bar, print_json, print_problem, print_table, shorten_name
from ftlab.config.train_config import SPLIT_FIELDS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.runs.jobs import audit_job

if TYPE_CHECKING:
    from ftlab.audit.findings import AuditReport, Finding
    from ftlab.data.dataset.catalog import Catalog

MAX_PRINTED_FINDINGS = 40
"""Number of findings of a kind that are printed; `--json` prints all."""


def scan(options: Namespace) -> None:
    """Print classes, splits and problems of a folder, an archive or a list; with `--deep`, audit every image."""
    from ftlab.data.dataset import deep_images, exclusions
    from ftlab.data.dataset.scan import scan as scan_dataset
    from ftlab.data.dataset.split import SPLITS
    from ftlab.data.sources import archive

    config = TrainConfig(
        **{name: getattr(options, name) for name in SPLIT_FIELDS}, exclude=options.exclude, backbone=options.backbone
    )
    with open_progress_bar("console.checking") as progress:
        catalog = scan_dataset(
            options.folder,
            **config.split_settings,
            exclude=exclusions.read_exclusions(config.exclude),
            progress=progress,
        )
    class_counts = catalog.count_images()
    report = _audit_images(catalog, config.backbone) if options.deep else None
    if options.json:
        splits = {split: len(catalog.splits[split]) for split in SPLITS}
        problems = [problem.to_json() for problem in catalog.problems]
        reading = {"reading": catalog.describe_reading(), "layout": catalog.layout}
        summary = {"classes": class_counts, "splits": splits, **reading, "problems": problems}
        print_json(
            {
                **summary,
                "excluded": list(catalog.excluded_paths),
                "value_ranges": catalog.value_ranges.to_json(),
                "notes": deep_images.format_ranges(catalog.value_ranges),
                **({"doctor": _report_without_images(report)} if report else {}),
            }
        )
        return
    print(
        messages.get_text(
            f"cli.layout.{catalog.layout}", folder=messages.escape_control_chars(archive.describe_path(catalog.root))
        )
    )
    print(catalog.describe_reading())
    rows = [
        [shorten_name(messages.escape_control_chars(name)), *(class_counts[name][split] for split in SPLITS)]
        for name in catalog.classes
    ]
    print_table(["class", *SPLITS], rows)
    for note in deep_images.format_ranges(catalog.value_ranges):
        print(note)
    for data_problem in catalog.problems:
        print_problem(data_problem.location, data_problem)
    if catalog.excluded_paths:
        print(messages.get_text("cli.excluded", count=len(catalog.excluded_paths)))
    if report:
        _print_report(report)


def _audit_images(catalog: Catalog, backbone: str) -> AuditReport:
    """Audit the images with a progress bar, and write the progress to a file for the process that asked for it.

    Args:
        catalog: the data set.
        backbone: name of the backbone whose features are used.

    Returns:
        The report.

    Raises:
        DataError: the report cannot be written.
        AssertionError: the audit ended without a report: a bug.
    """
    from ftlab.audit.examine import audit_dataset
    from ftlab.audit.findings import AuditReport

    progress_path = os.environ.get(audit_job.PROGRESS_FILE_ENV)
    last_written = ("", 0.0)
    with open_progress_bar("console.examining") as progress:
        try:
            for event in audit_dataset(catalog, backbone):
                if isinstance(event, AuditReport):
                    return event
                progress(event.done, event.total)
                # At most five times a second, but the start of each stage in any case.
                if progress_path and (event.stage, time.monotonic() - 0.2) > last_written:
                    last_written = (event.stage, time.monotonic())
                    # Appended by whole lines: the page's process reads the last complete one.
                    with Path(progress_path).open("a", encoding="utf-8") as file:
                        file.write(json.dumps(vars(event)) + "\n")
        except OSError as cause:
            raise DataError("doctor.write", cause=cause.strerror or cause) from cause
    raise AssertionError("the doctor ends with a report")


def _report_without_images(report: AuditReport) -> dict[str, object]:
    """Return a report for `--json`, with the positions but without the thumbnails of its map."""
    report_values = report.to_json()
    return {**report_values, "map": report_values["map"] and report_values["map"]["points"]}


def _print_report(report: AuditReport) -> None:
    """Print the findings of an audit, with the reason of each kind."""
    from ftlab.audit.findings import FINDING_KINDS

    print()
    print(messages.get_text("doctor.looked", count=report.looked, seconds=f"{report.seconds:.0f}"))
    for code, values in report.notes:
        print(messages.get_text(f"doctor.note.{code}", **values))
    if report.left:
        print(messages.get_text("doctor.left", count=f"{report.left:,}"))
    for kind in FINDING_KINDS:
        findings = report.findings_of_kind(kind)
        if not findings:
            continue
        print()
        print(messages.get_text("cli.found", title=messages.get_text(f"doctor.kind.{kind}"), count=len(findings)))
        print(messages.get_text(f"doctor.why.{kind}"))
        for finding in findings[:MAX_PRINTED_FINDINGS]:
            print(f"  {_format_finding(finding)}")
        if len(findings) > MAX_PRINTED_FINDINGS:
            print(messages.get_text("cli.found_more", count=len(findings) - MAX_PRINTED_FINDINGS))
    print()
    print(messages.get_text("cli.leave_out") if report.findings else messages.get_text("doctor.healthy"))


def _format_finding(finding: Finding) -> str:
    """Return one line about a finding: its images and its sentence."""
    message = messages.get_text(
        f"doctor.said.{finding.kind}", **{name: _escape_text(value) for name, value in finding.values.items()}
    )
    files = " = ".join(
        f"{messages.escape_control_chars(image.path)} [{image.split}, {messages.escape_control_chars(image.name)}]"
        for image in finding.pictures
    )
    return f"{files}: {message}" if files else message


def _escape_text(value: object) -> object:
    """Return a value with control characters escaped if it is text."""
    return messages.escape_control_chars(value) if isinstance(value, str) else value
