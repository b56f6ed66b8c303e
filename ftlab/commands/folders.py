"""The command about a folder of pictures."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from ftlab import words
from ftlab.config import DEALING, TrainConfig
from ftlab.errors import DataError
from ftlab.jobs import examination
from ftlab.printing import as_json, bar, table

if TYPE_CHECKING:
    from ftlab.data.catalog import Catalog
    from ftlab.inspection.findings import Finding, Report

LISTED = 40
"""Findings of a kind that are printed; `--json` has all."""


def scan(options: Namespace) -> None:
    """Classes, splits and problems of a folder, a zip or a list; `--deep` has the doctor look at each picture."""
    from ftlab.data import excluding
    from ftlab.data.catalog import SPLITS
    from ftlab.data.catalog import scan as look

    settings = TrainConfig(
        **{name: getattr(options, name) for name in DEALING}, exclude=options.exclude, backbone=options.backbone
    )
    with bar("console.checking") as progress:
        found = look(options.folder, **settings.dealing, exclude=excluding.read(settings.exclude), progress=progress)
    counts = found.counts()
    report = _examined(found, settings.backbone) if options.deep else None
    if options.json:
        splits = {split: len(found.splits[split]) for split in SPLITS}
        problems = [problem.to_json() for problem in found.problems]
        facts = {"classes": counts, "splits": splits, "layout": found.layout, "problems": problems}
        as_json({**facts, "excluded": list(found.excluded), **({"doctor": _bare(report)} if report else {})})
        return
    print(words.text(f"cli.layout.{found.layout}", folder=words.one_line(found.root)))
    rows = [[words.one_line(name), *(counts[name][split] for split in SPLITS)] for name in found.classes]
    table(["class", *SPLITS], rows)
    for one in found.problems:
        print(words.text("cli.problem", file=one.where, problem=one.problem, remedy=one.remedy))
    if found.excluded:
        print(words.text("cli.excluded", count=len(found.excluded)))
    if report:
        _tell(report)


def _examined(found: Catalog, backbone: str) -> Report:
    from ftlab.inspection.doctor import examine
    from ftlab.inspection.findings import Report

    told = os.environ.get(examination.TELL)
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
    from ftlab.inspection.findings import KINDS

    print()
    print(words.text("doctor.looked", count=report.looked, seconds=f"{report.seconds:.0f}"))
    for code, values in report.notes:
        print(words.text(f"doctor.note.{code}", **values))
    if report.left:
        print(words.text("doctor.left", count=f"{report.left:,}"))
    for kind in KINDS:
        found = report.of(kind)
        if not found:
            continue
        print()
        print(words.text("cli.found", title=words.text(f"doctor.kind.{kind}"), count=len(found)))
        print(words.text(f"doctor.why.{kind}"))
        for one in found[:LISTED]:
            print(f"  {_line(one)}")
        if len(found) > LISTED:
            print(words.text("cli.found_more", count=len(found) - LISTED))
    print()
    print(words.text("cli.leave_out") if report.findings else words.text("doctor.healthy"))


def _line(one: Finding) -> str:
    said = words.text(f"doctor.said.{one.kind}", **{name: _safe(value) for name, value in one.values.items()})
    files = " = ".join(
        f"{words.one_line(each.path)} [{each.split}, {words.one_line(each.name)}]" for each in one.pictures
    )
    return f"{files}: {said}" if files else said


def _safe(value: object) -> object:
    return words.one_line(value) if isinstance(value, str) else value
