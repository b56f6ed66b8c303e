"""The command that says how good a run's model is."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.terminal.output import as_json, bar
from ftlab.core import messages
from ftlab.runs import run_store

if TYPE_CHECKING:
    from ftlab.evaluation.evaluate import Inspection


def evaluate(options: Namespace) -> None:
    """Score a run's models on a split, or on a labelled folder."""
    from ftlab.evaluation import datasets
    from ftlab.evaluation.evaluate import inspect
    from ftlab.inference import predictor
    from ftlab.reporting.html import files

    run = run_store.find(options.runs, options.run)
    if options.folder:
        pictures = datasets.of_folder(options.folder, datasets.classes(run))
    else:
        pictures = datasets.of_split(run, options.split)
    asked = ("best", "last") if options.which == "both" else (options.which,)
    for which in asked:
        with bar("console.validation") as progress:
            found = inspect(run, pictures, which, progress)
        folder = Path(options.out) / f"{pictures.name}-{which}" if options.out else None
        if options.json:
            as_json(_facts(found) | ({"out": str(folder)} if folder else {}))
        else:
            _tell(found, options.folder or options.split)
        if folder:
            model = predictor.load(run, which)
            written = files.write(folder, found, model.title, run.name, model.names)
            if not options.json:
                print(messages.text("cli.reported", out=folder, files=", ".join(one.name for one in written)))


def _facts(found: Inspection) -> dict[str, Any]:
    from ftlab.evaluation import calibration

    outcome, figures, decided = found.outcome, found.figures, found.decision
    low, high = figures.top1.interval
    return {
        "pictures": outcome.pictures,
        "which": outcome.which,
        "n": figures.top1.n,
        "top1": figures.top1.value,
        "top1_interval": [low, high],
        "top5": figures.top5.value,
        "balanced": figures.balanced,
        "loss": figures.loss,
        "calibration_error": calibration.reliability(outcome).error,
        "calibration_error_after": calibration.reliability(outcome, found.temperature).error,
        "temperature": found.temperature,
        "threshold": decided.threshold if decided else 0.0,
        "none_of_these": found.refused,
        "skipped": [one.path for one in outcome.skipped],
        "unknown": dict(outcome.unknown),
    }


def _tell(found: Inspection, asked: str) -> None:
    outcome, figures = found.outcome, found.figures
    low, high = figures.top1.interval
    told = {"top1": figures.top1.value, "top5": figures.top5.value, "low": low, "high": high, "loss": figures.loss}
    print(messages.text("cli.score", split=asked, which=outcome.which, n=figures.top1.n, **told))
    for one in outcome.skipped:
        print(messages.text("cli.problem", file=messages.one_line(one.path), problem=one.problem, remedy=one.remedy))
    if outcome.unknown:
        names = ", ".join(f"{messages.one_line(name)} ({count:,})" for name, count in outcome.unknown)
        print(messages.text("inspect.unknown", names=names))
