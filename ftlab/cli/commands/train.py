"""The commands about trainings: start one, stop one, go on with one."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

from ftlab.cli.common import train_process
from ftlab.cli.common.config_flags import build_config
from ftlab.cli.terminal.output import open_progress_bar, print_json
from ftlab.config import backbones, train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch


def train(options: Namespace) -> int:
    """A new run, trained by this process."""
    config = build_config(options)
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    backbones.get_backbone_spec(config.backbone)  # no run is made for one that is not there
    if config.init and not train_process.is_adopting_run():
        from ftlab.models.pretrained import checkpoint_import

        config = checkpoint_import.resolve_init(config, options.runs)
    if config.exclude:
        config = replace(config, exclude=str(Path(config.exclude).expanduser().absolute()))
        if not train_process.is_adopting_run():
            from ftlab.data.dataset import exclusions

            exclusions.read_exclusions(config.exclude)  # no run is made for a list that is not there
    if config.data:
        config = replace(config, data=str(Path(config.data).expanduser().absolute()))
        if (
            not train_process.is_adopting_run()
        ):  # else a run is there already, and the training says in it what is amiss
            from ftlab.data.sources import locate

            with open_progress_bar("console.unpacking") as progress:
                locate.locate_dataset(config.data, progress)
    else:
        from ftlab.data.samples import sample_sets

        with open_progress_bar("console.drawing") as progress:  # seconds, the first time
            sample_sets.ensure_sample_set(config.sample, progress=progress)
    return train_run(train_process.create_run(config, options.runs), config, options)


def resume(options: Namespace) -> int:
    """Go on with a run that was stopped, has failed or died."""
    run = train_process.take_adopted_run()
    if run is None:
        run = run_store.find_run(options.runs, options.run)
        if run.get_status() == "finished":
            raise RunError("run.finished", run=run.name)
    return train_run(run, run.load_config(), options)


def stop(options: Namespace) -> None:
    """Ask a run to end at its next step, or end its process now."""
    run = run_store.find_run(options.runs, options.run)
    status, last_beat = run.get_status(), run.read_last_beat()
    if status not in run_store.ACTIVE_STATUSES:
        raise RunError("run.idle", run=run.name)
    if options.now:
        launch.terminate_run(run)
        message = messages.get_text("cli.ended_now", run=run.name)
    else:
        run.request_stop()
        message = messages.get_text("cli.stopping", run=run.name)
        if status == "hanging" and last_beat:
            message = messages.get_text("cli.stopping_silent", run=run.name, silence=f"{last_beat.silence_seconds:.0f}")
    if options.json:
        print_json({"run": run.name, "stop": "ended" if options.now else "asked"})
    else:
        print(message)


def measure(options: Namespace) -> None:
    """How fast this machine trains with a configuration, in pictures per second. The page asks for it."""
    from ftlab.training.throughput import measure_throughput as run_measure

    speed = run_measure(train_config.load_config(options.config))
    print_json(asdict(speed))


def train_run(run: Run, config: TrainConfig, options: Namespace) -> int:
    if train_process.is_main_process():
        print(messages.get_text("console.run", run=run.path), file=sys.stderr)
    end_event = train_process.run_training(run, config)
    if end_event is None or not train_process.is_main_process():
        return 0
    if options.json:
        end_values = asdict(end_event)
        reported_keys = ("reason", "best_epoch", "best_val_accuracy", "epoch", "seconds", "message")
        print_json({"run": run.name, "path": str(run.path), **{key: end_values[key] for key in reported_keys}})
    return 2 if end_event.reason == "failed" else 0
