"""The commands `train`, `resume`, `stop`, and those that measure by a short training: `measure` and `find-rate`."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.cluster import cluster_driver, cluster_submit
from ftlab.cli.common import launched_run, local_ranks, queue_turn, train_process
from ftlab.cli.parsing.config_flags import build_config
from ftlab.cli.terminal.output import open_progress_bar, print_json
from ftlab.cli.terminal.progress import format_event
from ftlab.config import backbones, trackers, train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core import interruption, messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs import run_store
from ftlab.runs.copies import run_copy
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, LogMessage
from ftlab.runs.jobs import priority
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.liveness import ACTIVE_STATUSES
from ftlab.runs.queue import start_gate, train_command
from ftlab.runs.queue.database import declare_queue_folder
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.devices import rank_environment

if TYPE_CHECKING:
    from ftlab.data.dataset.from_config import DatasetSource


def train(options: Namespace) -> int:
    """Create a run and train it, in this process or in several; with `--queue`, once its turn has come.

    Returns:
        Exit status, see `train_run`.
    """
    if cluster_driver.is_driver():
        return cluster_driver.drive_run()
    if not start_gate.pass_gate():
        return 0
    priority.apply_declared_priority()
    rank_environment.check_launcher("train")
    _check_queue_flags(options)
    if options.cluster:
        return cluster_submit.submit_training(build_config(options), options)
    config = train_process.prepare_config(build_config(options), options.runs)
    from ftlab.data.dataset import from_config

    with open_progress_bar("console.unpacking" if config.data else "console.drawing") as progress:
        source = from_config.locate_source(config, progress, run_exists=launched_run.is_adopting_run())
    if options.queue and not launched_run.is_adopting_run():
        run = queue_turn.wait_for_turn(options.runs, config)
    else:
        run = launched_run.create_run(config, options.runs)
    if local_ranks.needs_ranks(config):
        command = [*train_command.build_train_command(config, options.runs), *(["--json"] if options.json else [])]
        return local_ranks.train_in_ranks(run, command, config)
    return train_run(run, config, options, source)


def resume(options: Namespace) -> int:
    """Continue a run that was stopped, failed or died; with `--queue`, once its turn has come.

    Returns:
        Exit status, see `train_run`.

    Raises:
        RunError: it is finished; a tracker that is not installed gives a `ConfigError`.
    """
    if cluster_driver.is_driver():
        return cluster_driver.drive_run()
    if not start_gate.pass_gate():
        return 0
    priority.apply_declared_priority()
    rank_environment.check_launcher("resume")
    _check_queue_flags(options)
    run = launched_run.take_adopted_run()
    if run is None:
        if run_copy.is_copy(options.run):
            run = run_copy.fetch_copy(options.run, options.runs)
        else:
            run = run_store.find_run(options.runs, options.run)
        if run.liveness.get_status() == "finished":
            raise RunError("run.finished", run=run.name)
        if run.liveness.has_driver():
            raise RunError("run.busy", run=run.name)
        if options.cluster:
            return cluster_submit.submit_resume(run, options)
        if options.queue:
            run = queue_turn.wait_to_resume(run)
    config = run.load_config()
    trackers.check_trackers_installed(config.trackers)
    if local_ranks.needs_ranks(config):
        command = [*train_command.build_resume_command(run), *(["--json"] if options.json else [])]
        return local_ranks.train_in_ranks(run, command, config)
    return train_run(run, config, options)


def _check_queue_flags(options: Namespace) -> None:
    """Use the folder that `--queue-dir` names.

    Args:
        options: of the command.

    Raises:
        ConfigError: torchrun has started several processes, which cannot wait in the queue.
    """
    if options.queue and rank_environment.get_world_size() > 1:
        raise ConfigError("config.queue_ranks")
    declare_queue_folder(options.queue_dir)


def stop(options: Namespace) -> None:
    """Ask a run to stop at its next step; with `--now`, end its process. One that waits is taken out of the queue.

    Raises:
        RunError: it is not active.
    """
    run = run_store.find_run(options.runs, options.run)
    status, last_beat = run.liveness.get_status(), run.liveness.read_last_beat()
    if status not in ACTIVE_STATUSES:
        raise RunError("run.idle", run=run.name)
    if status == "queued" and open_queue(run.path.parent).cancel(run):
        message = messages.get_text("cli.stopped_queued", run=run.name)
    elif options.now:
        open_queue(run.path.parent).terminate(run)
        message = messages.get_text("cli.ended_now", run=run.name)
    else:
        run.liveness.request_stop()
        message = messages.get_text("cli.stopping", run=run.name)
        if status == "hanging" and last_beat:  # it may never notice the request: say so
            message = messages.get_text("cli.stopping_silent", run=run.name, silence=f"{last_beat.silence_seconds:.0f}")
    if options.json:
        print_json({"run": run.name, "stop": "ended" if options.now else "asked"})
    else:
        print(message)


def measure(options: Namespace) -> None:
    """Print the training throughput of this machine with a configuration, in images per second; called by the page."""
    from ftlab.training.measurement.throughput import measure_throughput

    speed = measure_throughput(train_config.load_config(options.config))
    print_json(asdict(speed))


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


def train_run(run: Run, config: TrainConfig, options: Namespace, source: DatasetSource | None = None) -> int:
    """Train a run in this process, and print its end for `--json`.

    Args:
        run: to train.
        config: of the run.
        options: of the command.
        source: the located data set, if the caller has located it.

    Returns:
        Exit status: 130 after Ctrl+C, 2 if the training failed, else 0.
    """
    if rank_environment.is_main_process():
        print(messages.get_text("console.run", run=run.path), file=sys.stderr)

    def print_end(end_event: Ended) -> None:
        """Print the end as JSON, if the user asked for it."""
        if options.json:
            end_values = asdict(end_event)
            reported_keys = ("reason", "best_epoch", "best_val_accuracy", "epoch", "seconds", "message")
            print_json({"run": run.name, "path": str(run.path), **{key: end_values[key] for key in reported_keys}})

    guard = StopGuard()
    end_event = train_process.run_training(run, config, source, guard, print_end)
    if signal.SIGINT in guard.received_signals:
        return interruption.INTERRUPTED_STATUS
    is_failed = end_event is not None and end_event.reason == "failed"
    return 2 if is_failed and rank_environment.is_main_process() else 0
