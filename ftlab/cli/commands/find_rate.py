"""The command `find-rate`: suggest a learning rate."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from ftlab.cli.common.config_flags import build_config
from ftlab.cli.terminal.output import open_progress_bar, print_json
from ftlab.cli.terminal.progress import format_event
from ftlab.config import backbones
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs.events import LogMessage


def find_rate(options: Namespace) -> None:
    """Measure the loss over a sweep of learning rates, and suggest the one at which it falls fastest.

    Raises:
        ConfigError: no data set is named, or the figure cannot be written.
        RunError: the sweep ended before the first measurement.
    """
    config = build_config(options)
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    backbones.get_backbone_spec(config.backbone)  # raise before torch is imported
    from ftlab.runs.jobs.lr_sweep import LrSweep
    from ftlab.training.measurement.lr_finder import sweep_learning_rates

    sweep_result: LrSweep | None = None
    with open_progress_bar("console.rates") as progress:
        for event in sweep_learning_rates(config):
            if isinstance(event, LrSweep):
                sweep_result = event
            elif isinstance(event, LogMessage):
                print(format_event(event), file=sys.stderr)
            elif event.stage == "rates":
                progress(event.done, event.total)
    if sweep_result is None or not sweep_result.rates:
        raise RunError("run.measure", cause=messages.get_text("cli.no_rates"))
    suggestion = sweep_result.suggest_learning_rate()
    if options.out:
        from ftlab.reporting import plots

        try:
            plots.plot_lr_sweep(sweep_result).savefig(Path(options.out), dpi=120)
        except (OSError, ValueError) as cause:
            raise ConfigError("config.out", file=options.out, cause=cause) from cause
    if options.json:
        print_json({**asdict(sweep_result), "smooth": sweep_result.smooth_losses(), "suggestion": suggestion})
    elif suggestion is None:
        print(messages.get_text("train.rate.none"))
    else:
        print(messages.get_text("train.rate.found", rate=f"{suggestion:g}"))
