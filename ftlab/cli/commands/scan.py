"""The command about a folder of pictures."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from ftlab.cli.terminal.output import as_json, bar, table
from ftlab.config.train_config import DEALING, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.runs.jobs import audit_job

if TYPE_CHECKING:
    from ftlab.audit.findings import Finding, Report
    from ftlab.data.dataset.catalog import Catalog

LISTED = 40
"""Findings of a kind that are printed; `--json` has all."""


def scan(options: Namespace) -> None:
    """Classes, splits and problems of a folder, a zip or a list; `--deep` has the doctor look at each picture."""
    from ftlab.data.dataset import exclusions
    from ftlab.data.dataset.catalog import scan as look
    from ftlab.data.dataset.split import SPLITS

    settings = TrainConfig(
        **{name: getattr(options, name) for name in DEALING}, exclude=options.exclude, backbone=options.backbone
    )
    with bar("console.checking") as progress:
        found = look(options.folder, **settings.dealing, exclude=exclusions.read(settings.exclude), progress=progress)
    counts = found.counts()
    report = _examined(found, settings.backbone) if options.deep else None
    if options.json:
        splits = {split: len(found.splits[split]) for split in SPLITS}
        problems = [problem.to_json() for problem in found.problems]
        facts = {"classes": counts, "splits": splits, "layout": found.layout, "problems": problems}
        as_json({**facts, "excluded": list(found.excluded), **({"doctor": _bare(report)} if report else {})})
        return
    print(messages.text(f"cli.layout.{found.layout}", folder=messages.one_line(found.root)))
    rows = [[messages.one_line(name), *(counts[name][split] for split in SPLITS)] for name in found.classes]
    table(["class", *SPLITS], rows)
    for one in found.problems:
        print(messages.text("cli.problem", file=one.where, problem=one.problem, remedy=one.remedy))
    if found.excluded:
        print(messages.text("cli.excluded", count=len(found.excluded)))
    if report:
        _tell(report)


def _examined(found: Catalog, backbone: str) -> Report:
    from ftlab.audit.examine import examine
    from ftlab.audit.findings import Report

    told = os.environ.get(audit_job.TELL)
    last = ("", 0.0)
    with bar("console.examining") as progress:
        try:
            for part in examine(found, backbone):
                if isinstance(part, Report):
                    return part
                progress(part.done, part.total)
                if told and (part.stage, time.monotonic() - 0.2) > last:
                    last = (part.stage, time.monotonic())
                    with open(told, "a", encoding="utf-8") as file:
                        file.write(json.dumps(vars(part)) + "\n")
        except OSError as cause:
            raise DataError("doctor.write", cause=cause.strerror or cause) from cause
    raise AssertionError("the doctor ends with a report")


def _bare(report: Report) -> dict[str, object]:
    """A report without the pictures of its map."""
    told = report.to_json()
    return {**told, "map": told["map"] and told["map"]["points"]}


def _tell(report: Report) -> None:
    from ftlab.audit.findings import KINDS

    print()
    print(messages.text("doctor.looked", count=report.looked, seconds=f"{report.seconds:.0f}"))
    for code, values in report.notes:
        print(messages.text(f"doctor.note.{code}", **values))
    if report.left:
        print(messages.text("doctor.left", count=f"{report.left:,}"))
    for kind in KINDS:
        found = report.of(kind)
        if not found:
            continue
        print()
        print(messages.text("cli.found", title=messages.text(f"doctor.kind.{kind}"), count=len(found)))
        print(messages.text(f"doctor.why.{kind}"))
        for one in found[:LISTED]:
            print(f"  {_line(one)}")
        if len(found) > LISTED:
            print(messages.text("cli.found_more", count=len(found) - LISTED))
    print()
    print(messages.text("cli.leave_out") if report.findings else messages.text("doctor.healthy"))


def _line(one: Finding) -> str:
    said = messages.text(f"doctor.said.{one.kind}", **{name: _safe(value) for name, value in one.values.items()})
    files = " = ".join(
        f"{messages.one_line(each.path)} [{each.split}, {messages.one_line(each.name)}]" for each in one.pictures
    )
    return f"{files}: {said}" if files else said


def _safe(value: object) -> object:
    return messages.one_line(value) if isinstance(value, str) else value
