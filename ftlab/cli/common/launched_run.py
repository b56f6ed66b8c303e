"""The run of a training in this process: created, or the one that another process has created for it."""

from __future__ import annotations

import os
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.queue import start_gate
from ftlab.training.devices import rank_environment


def create_run(config: TrainConfig, runs_dir: str) -> Run:
    """Create the run to train, or return the one that the page has created for this process.

    The ranks that torchrun started share one run, also when it starts them again. If the folder cannot be written,
    `RunError` propagates.

    Args:
        config: of the run.
        runs_dir: folder of all runs.

    Returns:
        The run.
    """
    adopted_run = take_adopted_run()
    if adopted_run is not None:
        return adopted_run
    if rank_environment.get_world_size() == 1:
        return _create_launched_run(config, runs_dir)
    from ftlab.training.devices import device_setup

    return Run(device_setup.broadcast_from_main(config, lambda: str(_create_launched_run(config, runs_dir).path)))


def _create_launched_run(config: TrainConfig, runs_dir: str) -> Run:
    """Create a run; after a restart by torchrun, return the one that was created before it.

    Args:
        config: of the run.
        runs_dir: folder of all runs.

    Returns:
        The run, whose `config.json` names the call of torchrun.
    """
    launch_id = rank_environment.get_launch_id()
    if rank_environment.get_restart_count():
        for name in run_store.list_run_names(runs_dir):  # the newest first
            earlier_run = Run(Path(runs_dir).absolute() / name)
            if earlier_run.read_config_file().get("launch") == launch_id:
                return earlier_run
    run = run_store.create_run(runs_dir, config)
    if launch_id:
        run.write_json("config.json", {**run.read_config_file(), "launch": launch_id})
    return run


def is_adopting_run() -> bool:
    """Return whether this process was started for an existing run."""
    return start_gate.RUN_FOLDER_ENV in os.environ


def take_adopted_run() -> Run | None:
    """Return the run that the page has started this process for; None if there is none, or at the second call."""
    # Removed, so that a process that this one starts does not adopt the run as well.
    path = os.environ.pop(start_gate.RUN_FOLDER_ENV, None)
    return Run(path) if path else None
