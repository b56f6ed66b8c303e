"""The commands about trainings: start one, stop one, go on with one."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

from ftlab.cli.common import train_process
from ftlab.cli.common.config_flags import given
from ftlab.cli.terminal.output import as_json, bar
from ftlab.config import backbones, train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch


def train(options: Namespace) -> int:
    """A new run, trained by this process."""
    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)  # no run is made for one that is not there
    if settings.init and not train_process.adopting():
        from ftlab.models.pretrained import checkpoint_import

        settings = checkpoint_import.resolve(settings, options.runs)
    if settings.exclude:
        settings = replace(settings, exclude=str(Path(settings.exclude).expanduser().absolute()))
        if not train_process.adopting():
            from ftlab.data.dataset import exclusions

            exclusions.read(settings.exclude)  # no run is made for a list that is not there
    if settings.data:
        settings = replace(settings, data=str(Path(settings.data).expanduser().absolute()))
        if not train_process.adopting():  # else a run is there already, and the training says in it what is amiss
            from ftlab.data.sources import locate

            with bar("console.unpacking") as progress:
                locate.find(settings.data, progress)
    else:
        from ftlab.data.samples import sample_sets

        with bar("console.drawing") as progress:  # seconds, the first time
            sample_sets.ensure(settings.sample, progress=progress)
    return _trained(train_process.create(settings, options.runs), settings, options)


def resume(options: Namespace) -> int:
    """Go on with a run that was stopped, has failed or died."""
    run = train_process.adoptable()
    if run is None:
        run = run_store.find(options.runs, options.run)
        if run.status() == "finished":
            raise RunError("run.finished", run=run.name)
    return _trained(run, run.config(), options)


def stop(options: Namespace) -> None:
    """Ask a run to end at its next step, or end its process now."""
    run = run_store.find(options.runs, options.run)
    status, heard = run.status(), run.pulse()
    if status not in run_store.LIVE:
        raise RunError("run.idle", run=run.name)
    if options.now:
        launch.end(run)
        said = messages.text("cli.ended_now", run=run.name)
    else:
        run.ask_stop()
        said = messages.text("cli.stopping", run=run.name)
        if status == "hanging" and heard:
            said = messages.text("cli.stopping_silent", run=run.name, silence=f"{heard.silence:.0f}")
    if options.json:
        as_json({"run": run.name, "stop": "ended" if options.now else "asked"})
    else:
        print(said)


def measure(options: Namespace) -> None:
    """How fast this machine trains with a configuration, in pictures per second. The page asks for it."""
    from ftlab.training.throughput import measure as run_measure

    speed = run_measure(train_config.load(options.config))
    as_json(asdict(speed))


def _trained(run: Run, settings: TrainConfig, options: Namespace) -> int:
    if train_process.first():
        print(messages.text("console.run", run=run.path), file=sys.stderr)
    ended = train_process.follow(run, settings)
    if ended is None or not train_process.first():
        return 0
    if options.json:
        facts = asdict(ended)
        kept = ("reason", "best_epoch", "best_val_accuracy", "epoch", "seconds", "message")
        as_json({"run": run.name, "path": str(run.path), **{key: facts[key] for key in kept}})
    return 2 if ended.reason == "failed" else 0
