"""The commands about trainings: start one, stop one, go on with one."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

from ftlab import backbones, config, session, words
from ftlab import runs as directory
from ftlab.commands.settings import given
from ftlab.config import TrainConfig
from ftlab.errors import ConfigError, RunError
from ftlab.jobs import worker
from ftlab.printing import as_json, bar
from ftlab.runs import Run


def train(options: Namespace) -> int:
    """A new run, trained by this process."""
    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)  # no run is made for one that is not there
    if settings.init and not session.adopting():
        from ftlab.models import foreign

        settings = foreign.resolve(settings, options.runs)
    if settings.exclude:
        settings = replace(settings, exclude=str(Path(settings.exclude).expanduser().absolute()))
        if not session.adopting():
            from ftlab.data import excluding

            excluding.read(settings.exclude)  # no run is made for a list that is not there
    if settings.data:
        settings = replace(settings, data=str(Path(settings.data).expanduser().absolute()))
        if not session.adopting():  # else a run is there already, and the training says in it what is amiss
            from ftlab.data import origin

            with bar("console.unpacking") as progress:
                origin.find(settings.data, progress)
    else:
        from ftlab.data import rendered

        with bar("console.drawing") as progress:  # seconds, the first time
            rendered.ensure(settings.sample, progress=progress)
    return _trained(session.create(settings, options.runs), settings, options)


def resume(options: Namespace) -> int:
    """Go on with a run that was stopped, has failed or died."""
    run = session.adoptable()
    if run is None:
        run = directory.find(options.runs, options.run)
        if run.status() == "finished":
            raise RunError("run.finished", run=run.name)
    return _trained(run, run.config(), options)


def stop(options: Namespace) -> None:
    """Ask a run to end at its next step, or end its process now."""
    run = directory.find(options.runs, options.run)
    status, heard = run.status(), run.pulse()
    if status not in directory.LIVE:
        raise RunError("run.idle", run=run.name)
    if options.now:
        worker.end(run)
        said = words.text("cli.ended_now", run=run.name)
    else:
        run.ask_stop()
        said = words.text("cli.stopping", run=run.name)
        if status == "hanging" and heard:
            said = words.text("cli.stopping_silent", run=run.name, silence=f"{heard.silence:.0f}")
    if options.json:
        as_json({"run": run.name, "stop": "ended" if options.now else "asked"})
    else:
        print(said)


def measure(options: Namespace) -> None:
    """How fast this machine trains with a configuration, in pictures per second. The page asks for it."""
    from ftlab.training.speed import measure as run_measure

    speed = run_measure(config.load(options.config))
    as_json(asdict(speed))


def _trained(run: Run, settings: TrainConfig, options: Namespace) -> int:
    if session.first():
        print(words.text("console.run", run=run.path), file=sys.stderr)
    ended = session.follow(run, settings)
    if ended is None or not session.first():
        return 0
    if options.json:
        facts = asdict(ended)
        kept = ("reason", "best_epoch", "best_val_accuracy", "epoch", "seconds", "message")
        as_json({"run": run.name, "path": str(run.path), **{key: facts[key] for key in kept}})
    return 2 if ended.reason == "failed" else 0
