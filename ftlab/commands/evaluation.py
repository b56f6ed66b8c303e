"""The command that says how good a run's model is."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab import runs, words
from ftlab.printing import as_json, bar


def evaluate(options: Namespace) -> None:
    """Score a run's best model on a split."""
    from ftlab.inference.scoring import score

    run = runs.find(options.runs, options.run)
    with bar("console.validation") as progress:
        found = score(run, options.split, progress)
    if options.json:
        as_json(asdict(found))
    else:
        print(words.text("cli.score", split=options.split, **asdict(found)))
