"""The command that finds a learning rate."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from ftlab.cli.common.config_flags import given
from ftlab.cli.terminal.output import as_json, bar
from ftlab.cli.terminal.progress import line
from ftlab.config import backbones
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs.events import Note


def find_rate(options: Namespace) -> None:
    """Sweep over learning rates: the loss at each, and the one at which it falls fastest."""
    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)
    from ftlab.runs.jobs.lr_sweep import Sweep
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
        raise RunError("run.measure", cause=messages.text("cli.no_rates"))
    suggestion = found.suggestion()
    if options.out:
        from ftlab.reporting import plots

        try:
            plots.rates_figure(found).savefig(Path(options.out), dpi=120)
        except (OSError, ValueError) as cause:
            raise ConfigError("config.out", file=options.out, cause=cause) from cause
    if options.json:
        as_json({**asdict(found), "smooth": found.smooth(), "suggestion": suggestion})
    elif suggestion is None:
        print(messages.text("train.rate.none"))
    else:
        print(messages.text("train.rate.found", rate=f"{suggestion:g}"))
