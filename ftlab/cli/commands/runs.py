"""The commands about runs that were: list and search them, name them, note what was learnt, delete and bring back."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ftlab.cli.terminal.output import as_json, table
from ftlab.core import messages
from ftlab.runs import run_notes, run_store, run_table, trash
from ftlab.runs.directory import Run
from ftlab.runs.jobs import postmortem
from ftlab.runs.run_table import Row


def runs(options: Namespace) -> None:
    """All runs, or those in which the words of a search stand."""
    root = Path(options.runs)
    every = run_table.rows(root, run_store.names(root))
    for row in every:
        if row.trouble:  # one that is damaged hides no other
            print(f"ftlab: {row.trouble}", file=sys.stderr)
    sound = [row for row in every if not row.trouble]
    shown = run_table.arranged(run_table.found(sound, options.search), options.sort)
    if not shown and not options.json:
        found_none = messages.text("cli.none_found", count=len(sound), search=options.search)
        print(found_none if sound else messages.text("cli.no_runs", folder=options.runs))
    _listed(root, shown, options.json)


def rename(options: Namespace) -> None:
    """Give a run a title."""
    run = run_store.find(options.runs, options.run)
    title = run_notes.write(run, title=options.title).title
    if options.json:
        as_json({"run": run.name, "title": title})
    else:
        print(messages.text("cli.renamed" if title else "cli.untitled", run=run.name, title=title))


def note(options: Namespace) -> None:
    """Write notes on a run."""
    run = run_store.find(options.runs, options.run)
    notes = run_notes.write(run, notes=options.text).notes
    if options.json:
        as_json({"run": run.name, "notes": notes})
    else:
        print(messages.text("cli.noted", run=run.name))


def delete(options: Namespace) -> None:
    """Put runs into the bin: all of them, or none."""
    root = Path(options.runs)
    several = list({run.name: run for run in (run_store.find(root, name) for name in options.several)}.values())
    others = run_table.rows(root, run_store.names(root))
    for run, now in zip(several, trash.discard(several), strict=True):
        row = run_table.row(now)
        size = row.size if row else 0
        needed = [one.name for one in run_table.successors(others, run.name)]
        if options.json:
            as_json({"run": now.name, "size": size, "needed_by": needed})
            continue
        print(messages.text("cli.deleted", run=now.name, size=messages.size(size)))
        if needed:
            print(messages.text("shelf.needed", count=len(needed), runs=", ".join(needed)))


def restore(options: Namespace) -> None:
    """Bring runs back from the bin: all of them, or none."""
    found = {run.name: run for run in (trash.find(options.runs, name) for name in options.several)}
    for run in trash.restore(list(found.values())):
        if options.json:
            as_json({"run": run.name})
        else:
            print(messages.text("cli.restored", run=run.name))


def bin(options: Namespace) -> None:
    """What lies in the bin; or remove it for good."""
    if options.empty:
        freed = trash.empty(options.runs)
        if options.json:
            as_json({"freed": freed})
        else:
            print(messages.text("cli.bin_emptied", size=messages.size(freed)))
        return
    rows = run_table.rows(trash.folder(options.runs), trash.names(options.runs))
    _listed(trash.folder(options.runs), rows, options.json)
    if not options.json:
        total = messages.size(sum(row.size for row in rows))
        print(messages.text("cli.bin_total", count=len(rows), size=total) if rows else messages.text("cli.bin_nothing"))


def _listed(root: Path, rows: Sequence[Row], json: bool) -> None:
    lines = []
    for row in rows:
        run = Run(root / row.name)
        gone = postmortem.cause(run) if row.status == "died" else None
        if json:
            as_json(_facts(run, row, gone.why if gone else None))
            continue
        standing = messages.text("status.short.died_why", cause=gone.word) if gone else row.status
        best = "–" if row.best is None else f"{row.best:.1%}"
        lines.append([row.name, messages.one_line(row.title), standing, best, row.data, messages.size(row.size)])
    if lines:
        table(["run", "title", "status", "best", "data", "size"], lines)


def _facts(run: Run, row: Row, cause: str | None) -> dict[str, object]:
    """A run as JSON: best_epoch and the last process's message are of its end."""
    ended = run.ended()
    return {
        "run": row.name,
        "title": row.title,
        "notes": row.notes,
        "begun": f"{row.day} {row.clock}",
        "status": row.status,
        "backbone": row.backbone,
        "mode": row.mode,
        "data": row.data,
        "best_epoch": ended.best_epoch if ended else None,
        "best_val_accuracy": row.best,
        "test_accuracy": row.test,
        "size": row.size,
        "begun_from": row.begun_from or None,
        "cause": cause or (ended.message if ended else None),
    }
