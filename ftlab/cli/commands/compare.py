"""The commands `series` (train in every mode) and `compare` (compare runs)."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from ftlab.cli.parsing import config_flags
from ftlab.cli.terminal.output import print_json, print_table
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.runs import comparison, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import series as job_series


def series(options: Namespace) -> int:
    """Train one configuration in every mode, one after the other, and print how far each came.

    Returns:
        Exit status: 0 if all finished, else 2.

    Raises:
        ConfigError: no data set is named.
    """
    base = config_flags.build_config(options)
    if not (base.data or base.sample):
        raise ConfigError("config.no_source")
    configs = job_series.expand_modes(base)
    runs_dir = Path(options.runs).absolute()

    def print_start(index: int, run: Run) -> None:
        """Print which training begins."""
        line = messages.get_text(
            "cli.series_begins", mode=run.load_config().mode, number=index + 1, count=len(configs), run=run.name
        )
        print(line, file=sys.stderr, flush=True)  # a training takes long: show the line now

    series_runs = job_series.run_series(configs, runs_dir, print_start)
    for run in series_runs:
        if not run.path.is_dir():  # deleted in the meantime
            continue
        summary = comparison.summarize_run(run, run.load_history())
        if options.json:
            print_json(summary.to_json())
        else:
            best_text = "–" if summary.best is None else f"{summary.best:.1%}"
            print(
                messages.get_text(
                    "cli.series_ended",
                    mode=summary.mode,
                    best=best_text,
                    seconds=f"{summary.seconds:.0f}",
                    run=run.name,
                )
            )
    return 0 if len(series_runs) == len(configs) and series_runs[-1].liveness.get_status() == "finished" else 2


def compare(options: Namespace) -> None:
    """Print the results and costs of runs and the settings in which they differ; with `--out`, plot their curves.

    Raises:
        ConfigError: there are too few or too many runs.
    """
    # Each run once, in the order given.
    runs = list(
        {run.name: run for run in (run_store.find_usable_run(options.runs, name) for name in options.several)}.values()
    )
    if not 2 <= len(runs) <= comparison.MAX_COMPARED_RUNS:
        raise ConfigError("config.compare", count=len(runs), most=comparison.MAX_COMPARED_RUNS)
    if options.out:
        from ftlab.reporting import figure_files, plots

        figure_files.check_figure_path(Path(options.out))  # raise before anything is printed
    histories = [run.load_history() for run in runs]
    summaries = [comparison.summarize_run(run, history) for run, history in zip(runs, histories, strict=True)]
    differences = comparison.find_differences([run.load_resolved_config() for run in runs])
    if options.json:
        for index, summary in enumerate(summaries):
            print_json(
                {
                    **summary.to_json(),
                    "differs": {difference.field_name: difference.values[index] for difference in differences},
                }
            )
    else:
        _print_tables(summaries, differences)
    if options.out:
        labels = [
            messages.get_text("compare.line", number=n + 1, backbone=summary.backbone, mode=summary.mode)
            for n, summary in enumerate(summaries)
        ]
        figure_files.save_figure(plots.plot_run_comparison(histories, labels), Path(options.out))


def _print_tables(summaries: list[comparison.RunSummary], differences: list[comparison.ConfigDifference]) -> None:
    """Print a table of the runs' results and costs, and one of the settings in which they differ.

    Args:
        summaries: of the runs.
        differences: of their settings, with one value for each run.
    """
    columns = ("run", "status", "backbone", "mode", "best", "test", "epochs", "seconds", "learns", "size")
    print_table(
        [messages.get_text(f"compare.column.{name}") for name in columns],
        [_format_cells(summary) for summary in summaries],
    )
    print()
    names = [messages.get_text("compare.number", number=index + 1) for index in range(len(summaries))]
    print_table(
        [messages.get_text("compare.column.setting"), *names],
        [[difference.label, *difference.values] for difference in differences],
    )


def _format_cells(summary: comparison.RunSummary) -> list[str]:
    """Return a run's row of the table."""
    return [
        summary.name,
        summary.status,
        summary.backbone,
        summary.mode,
        "–" if summary.best is None else f"{summary.best:.1%}",
        "–" if summary.test is None else f"{summary.test:.1%}",
        str(summary.epochs),
        f"{summary.seconds:.1f}",
        f"{summary.trainable:,} of {summary.total:,}",
        messages.format_bytes(summary.folder),
    ]
