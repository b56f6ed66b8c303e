"""The commands that train in every mode, and set runs side by side."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from ftlab.cli.common import config_flags
from ftlab.cli.terminal.output import as_json, table
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.runs import comparison, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import series as job_series


def series(options: Namespace) -> int:
    """The same training in every mode, in turn; how far each came."""
    base = config_flags.given(options)
    if not (base.data or base.sample):
        raise ConfigError("config.no_source")
    configs = job_series.settings(base)
    root = Path(options.runs).absolute()

    def told(number: int, run: Run) -> None:
        line = messages.text(
            "cli.series_begins", mode=run.config().mode, number=number + 1, count=len(configs), run=run.name
        )
        print(line, file=sys.stderr, flush=True)

    made = job_series.follow(configs, root, told)
    for run in made:
        if not run.path.is_dir():  # deleted since
            continue
        row = comparison.contender(run, run.history())
        if options.json:
            as_json(row.to_json())
        else:
            shown = "–" if row.best is None else f"{row.best:.1%}"
            print(
                messages.text("cli.series_ended", mode=row.mode, best=shown, seconds=f"{row.seconds:.0f}", run=run.name)
            )
    return 0 if len(made) == len(configs) and made[-1].status() == "finished" else 2


def compare(options: Namespace) -> None:
    """What each run came to and cost, in which knobs they differ, and, on demand, a figure of their curves."""
    found = list({run.name: run for run in (run_store.find(options.runs, name) for name in options.several)}.values())
    if not 2 <= len(found) <= comparison.MOST:
        raise ConfigError("config.compare", count=len(found), most=comparison.MOST)
    if options.out:
        from ftlab.reporting import plots

        plots.check(Path(options.out))
    histories = [run.history() for run in found]
    rows = [comparison.contender(run, history) for run, history in zip(found, histories, strict=True)]
    differing = comparison.differences([run.resolved() for run in found])
    if options.json:
        for number, row in enumerate(rows):
            as_json({**row.to_json(), "differs": {one.knob: one.values[number] for one in differing}})
    else:
        columns = ("run", "status", "backbone", "mode", "best", "test", "epochs", "seconds", "rate", "learns", "size")
        table([messages.text(f"compare.column.{name}") for name in columns], [_cells(row) for row in rows])
        print()
        names = [messages.text("compare.number", number=number + 1) for number in range(len(rows))]
        table([messages.text("compare.column.knob"), *names], [[one.label, *one.values] for one in differing])
    if options.out:
        labels = [
            messages.text("compare.line", number=n + 1, backbone=row.backbone, mode=row.mode)
            for n, row in enumerate(rows)
        ]
        plots.save(plots.comparison_figure(histories, labels), Path(options.out))


def _cells(row: comparison.Contender) -> list[str]:
    return [
        row.name,
        row.status,
        row.backbone,
        row.mode,
        "–" if row.best is None else f"{row.best:.1%}",
        "–" if row.test is None else f"{row.test:.1%}",
        str(row.epochs),
        f"{row.seconds:.1f}",
        "–" if row.images_per_second is None else f"{row.images_per_second:.1f}",
        f"{row.trainable:,} of {row.total:,}",
        messages.size(row.folder),
    ]
