"""The command that says how good a run's model is."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab import runs, words
from ftlab.printing import as_json, bar

if TYPE_CHECKING:
    from ftlab.inspection.evaluate import Inspection


def evaluate(options: Namespace) -> None:
    """Score a run's models on a split, or on a labelled folder."""
    from ftlab.inference import predictor
    from ftlab.inspection import labelled
    from ftlab.inspection.evaluate import inspect
    from ftlab.report import files

    run = runs.find(options.runs, options.run)
    if options.folder:
        pictures = labelled.of_folder(options.folder, labelled.classes(run))
    else:
        pictures = labelled.of_split(run, options.split)
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
                print(words.text("cli.reported", out=folder, files=", ".join(one.name for one in written)))


def _facts(found: Inspection) -> dict[str, Any]:
    from ftlab.inspection import calibration

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
    print(words.text("cli.score", split=asked, which=outcome.which, n=figures.top1.n, **told))
    for one in outcome.skipped:
        print(words.text("cli.problem", file=words.one_line(one.path), problem=one.problem, remedy=one.remedy))
    if outcome.unknown:
        names = ", ".join(f"{words.one_line(name)} ({count:,})" for name, count in outcome.unknown)
        print(words.text("inspect.unknown", names=names))
