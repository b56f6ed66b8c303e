"""The commands about existing runs: `runs`, `rename`, `note`, `delete`, `restore` and `bin`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.core import messages
from ftlab.runs import run_notes, run_store, run_table, trash
from ftlab.runs.directory import Run
from ftlab.runs.jobs import postmortem
from ftlab.runs.run_table import RunRow


def runs(options: Namespace) -> None:
    """List all runs, or those that match a search."""
    runs_dir = Path(options.runs)
    all_rows = run_table.load_rows(runs_dir, run_store.list_run_names(runs_dir))
    for row in all_rows:
        if row.read_error or row.file_error:
            print(f"ftlab: {row.read_error or row.file_error}", file=sys.stderr)
    matching_rows = run_table.sort_rows(run_table.filter_rows(all_rows, options.search), options.sort)
    if not matching_rows and not options.json:
        no_match_text = messages.get_text("cli.none_found", count=len(all_rows), search=options.search)
        print(no_match_text if all_rows else messages.get_text("cli.no_runs", folder=options.runs))
    _print_rows(runs_dir, matching_rows, use_json=options.json)


def rename(options: Namespace) -> None:
    """Give a run a title."""
    run = run_store.find_run(options.runs, options.run)
    title = run_notes.write_notes(run, title=options.title).title
    if options.json:
        print_json({"run": run.name, "title": title})
    else:
        print(messages.get_text("cli.renamed" if title else "cli.untitled", run=run.name, title=title))


def note(options: Namespace) -> None:
    """Write the notes on a run."""
    run = run_store.find_run(options.runs, options.run)
    notes = run_notes.write_notes(run, notes=options.text).notes
    if options.json:
        print_json({"run": run.name, "notes": notes})
    else:
        print(messages.get_text("cli.noted", run=run.name))


def delete(options: Namespace) -> None:
    """Move runs to the bin: all of them, or none if one cannot be moved."""
    runs_dir = Path(options.runs)
    selected_runs = list(
        {run.name: run for run in (run_store.find_run(runs_dir, name) for name in options.several)}.values()
    )
    # Before the runs are moved, while each run can still be found by its name.
    all_rows = run_table.load_rows(runs_dir, run_store.list_run_names(runs_dir))
    for run, trashed_run in zip(selected_runs, trash.discard_runs(selected_runs), strict=True):
        row = run_table.load_row(trashed_run)
        size = row.size_bytes if row else 0
        dependent_names = [successor.name for successor in run_table.find_successors(all_rows, run.name)]
        if options.json:
            print_json({"run": trashed_run.name, "size": size, "needed_by": dependent_names})
            continue
        print(messages.get_text("cli.deleted", run=trashed_run.name, size=messages.format_bytes(size)))
        if dependent_names:
            print(messages.get_text("shelf.needed", count=len(dependent_names), runs=", ".join(dependent_names)))


def restore(options: Namespace) -> None:
    """Move runs back from the bin: all of them, or none if one cannot be moved."""
    runs_by_name = {run.name: run for run in (trash.find_trashed_run(options.runs, name) for name in options.several)}
    for run in trash.restore_runs(list(runs_by_name.values())):
        if options.json:
            print_json({"run": run.name})
        else:
            print(messages.get_text("cli.restored", run=run.name))


def bin(options: Namespace) -> None:
    """List the runs in the bin; with `--empty`, delete them permanently."""
    if options.empty:
        freed_bytes = trash.empty_trash(options.runs)
        if options.json:
            print_json({"freed": freed_bytes})
        else:
            print(messages.get_text("cli.bin_emptied", size=messages.format_bytes(freed_bytes)))
        return
    rows = run_table.load_rows(trash.get_trash_folder(options.runs), trash.list_trashed_names(options.runs))
    _print_rows(trash.get_trash_folder(options.runs), rows, use_json=options.json)
    if not options.json:
        total_size = messages.format_bytes(sum(row.size_bytes for row in rows))
        print(
            messages.get_text("cli.bin_total", count=len(rows), size=total_size)
            if rows
            else messages.get_text("cli.bin_nothing")
        )


def _print_rows(runs_dir: Path, rows: Sequence[RunRow], *, use_json: bool) -> None:
    """Print runs as a table.

    Args:
        runs_dir: folder of the runs.
        rows: the runs.
        use_json: whether to print JSON lines instead.
    """
    lines = []
    for row in rows:
        run = Run(runs_dir / row.name)
        death_cause = postmortem.find_cause(run) if row.status == "died" else None
        if use_json:
            print_json(_run_to_json(run, row, death_cause.explanation if death_cause else None))
            continue
        status_text = messages.get_text("status.short.died_why", cause=death_cause.label) if death_cause else row.status
        best_text = "–" if row.best_accuracy is None else f"{row.best_accuracy:.1%}"
        lines.append(
            [
                row.name,
                messages.escape_control_chars(row.title),
                status_text,
                best_text,
                row.data,
                messages.format_bytes(row.size_bytes),
            ]
        )
    if lines:
        print_table(["run", "title", "status", "best", "data", "size"], lines)


def _run_to_json(run: Run, row: RunRow, cause: str | None) -> dict[str, object]:
    """Return a run as JSON; best epoch and last message are those of its last `Ended` event.

    Args:
        run: the run.
        row: its row of the table.
        cause: why its process died, if it did.
    """
    end_event = run.liveness.read_end_event()
    return {
        "run": row.name,
        "title": row.title,
        "notes": row.notes,
        "begun": f"{row.day} {row.time_of_day}",
        "status": row.status,
        "backbone": row.backbone,
        "mode": row.mode,
        "data": row.data,
        "best_epoch": end_event.best_epoch if end_event else None,
        "best_val_accuracy": row.best_accuracy,
        "test_accuracy": row.test_accuracy,
        "size": row.size_bytes,
        "begun_from": row.source_run or None,
        "cause": cause or (end_event.message if end_event else None),
        "problem": row.read_error or row.file_error or None,
    }
