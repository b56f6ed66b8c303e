"""The driver of a run on a Ray cluster: it starts the ranks, where there is room, and again where a machine is lost.

It is the process that a job of the cluster runs. The ranks train from the last checkpoint in the run directory, which
all machines share; Ray keeps no checkpoints of its own. A single rank is a task of Ray; several are Ray Train's
workers, whose process group Ray sets up (gloo or NCCL).
"""

from __future__ import annotations

import os
import shutil
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ftlab.cli.common import train_process
from ftlab.config.train_config import TrainConfig
from ftlab.core import interruption, lazy_import
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs.cluster import cluster_job
from ftlab.runs.cluster.ray_launcher import DRIVER_ENV
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.queue import marker, queue_exit
from ftlab.training.devices import rank_environment

MAX_RETRIES = 10
"""How often the ranks of a run are started again after a machine was lost."""
_POLL_SECONDS = 0.5
_RAY_FOLDER = "ray"
"""Folder of a run in which Ray Train keeps its own notes while the ranks work."""


def is_driver() -> bool:
    """Return whether this process is to start the ranks of a run on a cluster."""
    return bool(os.environ.get(DRIVER_ENV))


def drive_run() -> int:
    """Train the run that this job is for on the machines of the cluster.

    Returns:
        Exit status: 0, or 2 if the training failed.
    """
    run = Run(Path(os.environ.pop(DRIVER_ENV)))
    # As for a local process: only one can take the run, and none after it was cancelled.
    if not marker.remove_marker(run):
        return 0
    if run.liveness.is_stop_requested():
        _end_driver(run, "stopped")
        return 0
    event_offset, message = run.read_events()[1], ""
    end_signal = threading.Event()
    watcher = threading.Thread(target=_watch_run, args=(run, event_offset, end_signal), name="driver", daemon=True)
    watcher.start()
    try:
        config = train_process.prepare_config(run.load_config(), run.path.parent, trains_here=False)
        _start_ranks(run, config, event_offset)
    except Exception as error:  # whatever a rank or Ray raised: its traceback goes to the log
        traceback.print_exc()
        job = cluster_job.read_job(run)
        is_mistake = isinstance(error, FtlabError) or (job is not None and job.error)
        message = (job.error if job else "") or (str(error) if is_mistake else "")
        message = message or str(RunError("cluster.ranks", cause=str(error).strip().splitlines()[-1]))
    shutil.rmtree(run.path / _RAY_FOLDER, ignore_errors=True)
    end_signal.set()
    watcher.join()  # its next heartbeat would say that this driver works on
    reason = _read_end_reason(run, event_offset)
    _end_driver(run, "" if reason else "failed", message)
    return 0 if reason and reason != "failed" else 2


def _read_end_reason(run: Run, event_offset: int) -> str:
    """Return why the training ended; empty where the ranks of this job have left no such event.

    Args:
        run: the run.
        event_offset: byte of `metrics.jsonl` at which the events of this job begin.
    """
    event = run.read_last_event(event_offset)
    return event.reason if isinstance(event, Ended) else ""


def _end_driver(run: Run, reason: str, message: str | None = None) -> None:
    """Record that no rank will be started any more.

    Args:
        run: the run.
        reason: why it ends without an event of its ranks; empty if they left one.
        message: the error.
    """
    if reason:
        queue_exit.end_queued(run, reason, message)
    run.liveness.end_driver()


def _watch_run(run: Run, event_offset: int, end_signal: threading.Event) -> None:
    """Say that the driver works, and end it where a stop is requested that no rank can hear.

    Args:
        run: the run.
        event_offset: see `_read_end_reason`.
        end_signal: set when no rank works any more.
    """
    heartbeat = run.liveness.create_driver_heartbeat()
    while not end_signal.wait(_POLL_SECONDS):
        heartbeat.beat()
        is_unheard = run.liveness.is_stop_requested() and not run.liveness.is_process_alive()
        if is_unheard and _read_end_reason(run, event_offset) in ("", "failed"):
            _end_driver(run, "stopped")
            # With the driver its tasks and actors go, on all machines.
            interruption.end_process(0)


def _start_ranks(run: Run, config: TrainConfig, event_offset: int) -> None:
    """Start the ranks of a run and wait until they have ended; errors of Ray propagate.

    Args:
        run: the run.
        config: with absolute paths.
        event_offset: see `_read_end_reason`.
    """
    ray = lazy_import.import_module("ray")
    ray.init(log_to_driver=True)
    resources = {"CPU": float(config.torch_num_threads or 1), "GPU": float(_needs_gpu(config, ray.cluster_resources()))}
    if config.processes == 1:
        # A task that has raised an error is not repeated, one whose machine is lost is.
        task = ray.remote(_train_alone).options(
            num_cpus=resources["CPU"], num_gpus=resources["GPU"], max_retries=MAX_RETRIES
        )
        ray.get(task.remote(str(run.path), config, event_offset))
        return
    lazy_import.import_module("ray.train.torch").TorchTrainer(
        _train_rank,
        train_loop_config={"run": str(run.path), "config": config, "event_offset": event_offset},
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.processes, use_gpu=resources["GPU"] > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name=run.name,
            storage_path=str(run.path / _RAY_FOLDER),
            failure_config=ray.train.FailureConfig(max_failures=MAX_RETRIES),
        ),
    ).fit()


def _needs_gpu(config: TrainConfig, cluster_resources: dict[str, float]) -> bool:
    """Return whether each rank is to have a GPU: one that asks for any device gets one where the cluster has GPUs.

    Args:
        config: names the device.
        cluster_resources: what the machines of the cluster have, by Ray's names.
    """
    return config.device == "cuda" or (config.device == "auto" and cluster_resources.get("GPU", 0) > 0)


def _train_alone(run_path: str, config: TrainConfig, event_offset: int) -> None:
    """Train a run with one rank, in a process of Ray.

    Args:
        run_path: the run directory.
        config: the configuration.
        event_offset: see `_read_end_reason`.
    """
    # In a thread, as in a worker of Ray Train: a signal by which Ray ends the process must not count as a stop request.
    with ThreadPoolExecutor(1, "train") as executor:
        executor.submit(_train_run, Run(run_path), config, event_offset).result()


def _train_rank(options: dict[str, Any]) -> None:
    """Train as one of several ranks, in a process of Ray Train that has joined the process group.

    Args:
        options: run directory, configuration and `event_offset`.
    """
    _train_run(Run(options["run"]), options["config"], options["event_offset"])


def _train_run(run: Run, config: TrainConfig, event_offset: int) -> None:
    """Train a run from its last checkpoint, unless its training has ended for good in an earlier attempt.

    Args:
        run: the run.
        config: the configuration.
        event_offset: see `_read_end_reason`.

    Raises:
        FtlabError: a user's mistake, which a further attempt would meet again; it is noted for that attempt.
    """
    job = cluster_job.read_job(run)
    if (job is not None and job.error) or _read_end_reason(run, event_offset) not in ("", "failed"):
        return
    if rank_environment.is_main_process():
        # Ray has ended the ranks of an earlier attempt, wherever they were.
        run.liveness.release_ownership()
    try:
        train_process.run_training(run, config)
    except FtlabError as error:
        cluster_job.forbid_retry(run, str(error))
        raise
