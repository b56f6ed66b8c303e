"""The command that finds a learning rate."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from ftlab import backbones, words
from ftlab.commands.settings import given
from ftlab.console import line
from ftlab.errors import ConfigError, RunError
from ftlab.events import Note
from ftlab.printing import as_json, bar


def find_rate(options: Namespace) -> None:
    """Sweep over learning rates: the loss at each, and the one at which it falls fastest."""
    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)
    from ftlab.jobs.finder import Sweep
    from ftlab.training.lr_finder import sweep

    found: Sweep | None = None
    with bar("console.rates") as progress:
        for part in sweep(settings):
            if isinstance(part, Sweep):
                found = part
            elif isinstance(part, Note):
                print(line(part), file=sys.stderr)
            elif part.stage == "rates":
                progress(part.done, part.total)
    if found is None or not found.rates:
        raise RunError("run.measure", cause=words.text("cli.no_rates"))
    suggestion = found.suggestion()
    if options.out:
        from ftlab import plots

        try:
            plots.rates_figure(found).savefig(Path(options.out), dpi=120)
        except (OSError, ValueError) as cause:
            raise ConfigError("config.out", file=options.out, cause=cause) from cause
    if options.json:
        as_json({**asdict(found), "smooth": found.smooth(), "suggestion": suggestion})
    elif suggestion is None:
        print(words.text("train.rate.none"))
    else:
        print(words.text("train.rate.found", rate=f"{suggestion:g}"))
