"""The queue's launcher for a Slurm cluster, by submitit: each training is a job, each of its ranks a task. No torch.

submitit is imported when used. Slurm decides when and where; what is known of a run is in its directory, which lies on
a path that all machines share.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from ftlab.core import lazy_import
from ftlab.core.errors import RunError
from ftlab.runs.cluster.address import CLUSTER_ENV, parse_slurm_address, select_variables
from ftlab.runs.cluster.cluster_job import ClusterJob, read_job, write_job
from ftlab.runs.directory import Run
from ftlab.runs.queue import queue_exit
from ftlab.runs.slurm.slurm_task import SlurmTask

if TYPE_CHECKING:
    from submitit import Job

    from ftlab.config.train_config import TrainConfig

JOB_FOLDER = "slurm"
"""Folder of a run in which submitit keeps its scripts, pickles and output."""
JOB_MINUTES = 24 * 60
"""Minutes that a job may take where the address says nothing; at its end Slurm starts it again, at most three times."""
STOP_TIMEOUT_SECONDS = 60.0
"""Seconds that Slurm has to end a job: it kills after 30 what does not end by itself."""
_POLL_SECONDS = 0.5
_SHARED_OPTIONS = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
"""Options of a job that submitit names alike for all executors."""


class SlurmLauncher:
    """Starts trainings as jobs of Slurm; see `ftlab.runs.queue.launcher.Launcher`."""

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        """Submit the job of a run; it goes on when this process ends.

        Args:
            run: the run directory, at a path that all machines of the cluster share.
            command: the command, as a person would type it.
            environment: environment variables; `FTLAB_CLUSTER` has the address.
            working_dir: working directory.

        Raises:
            RunError: submitit or Slurm is missing, or the job is not accepted.
        """
        address = environment[CLUSTER_ENV]
        variables = select_variables(environment, lambda name: name.startswith("FTLAB_"))
        task = SlurmTask(str(run.path), tuple(command), {**variables, CLUSTER_ENV: ""}, working_dir)
        previous_job = read_job(run)
        run.liveness.clear_stop()
        # Before the job exists: the run must not be launched again while it waits for its machines.
        run.liveness.create_driver_heartbeat().beat()
        try:
            job = submit_task(run, address, task, variables["PYTHONPATH"])
        except RunError:
            run.liveness.end_driver()
            raise
        write_job(run, ClusterJob(address, job.job_id, previous_job.attempt + 1 if previous_job else 1))

    def terminate(self, run: Run) -> None:
        """End the job of a run by force, also one that waits for its machines.

        Args:
            run: the run.

        Raises:
            RunError: there is none, or Slurm does not end it.
        """
        cluster_job = read_job(run)
        if cluster_job is None or not self.is_alive(run):
            raise RunError("run.idle", run=run.name)
        run.liveness.mark_force_stop()
        job = _open_job(run, cluster_job)
        try:
            _cancel_job(job, cluster_job)
        except Exception as cause:  # subprocess' errors of scancel
            raise RunError("cluster.slurm_refused", cause=_get_last_line(cause)) from cause
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while not job.done(force_check=True):
            if time.monotonic() > deadline:
                raise RunError("cluster.slurm_undead", job=cluster_job.job)
            time.sleep(_POLL_SECONDS)
        if run.liveness.is_queued():  # before anybody sees that it has no job, and submits it again
            queue_exit.end_queued(run, "stopped")
        run.liveness.end_driver()
        # Nobody else can: its processes may have been those of another machine.
        run.liveness.release_ownership()

    def is_alive(self, run: Run) -> bool:
        """Return whether a job of Slurm works on a run, or waits for its machines."""
        if run.liveness.has_driver() or run.liveness.is_process_alive():
            return True
        job = read_job(run)
        # Nothing of the job runs while it waits, perhaps for days: whoever asks says for it that it is there.
        if job is not None and run.liveness.names_driver() and not _open_job(run, job).done():
            run.liveness.create_driver_heartbeat().beat()
            return True
        run.liveness.end_driver()
        return False


def submit_task(run: Run, address: str, task: SlurmTask, import_path: str) -> Job[int]:
    """Submit a task for each rank of a run.

    Args:
        run: the run.
        address: `slurm`, with options of submitit after a question mark.
        task: what each rank runs.
        import_path: from which the job's Python imports ftlab.

    Returns:
        The job.

    Raises:
        RunError: submitit or Slurm is missing, or the job is not accepted.
    """
    executor_name, options = parse_slurm_address(address)
    python = shlex.join(["env", f"PYTHONPATH={import_path}", sys.executable])
    config = run.load_config()
    try:
        executor = lazy_import.import_module("submitit").AutoExecutor(
            run.path / JOB_FOLDER, executor_name, slurm_python=python, local_python=python
        )
        executor.update_parameters(**make_job_options(run.name, config, options))
        job: Job[int] = executor.submit(task)
    except ImportError as cause:
        raise RunError("cluster.submitit_missing") from cause
    except RunError:
        raise
    except Exception as cause:  # RuntimeError, ValueError, NameError, and submitit's errors of sbatch
        raise RunError("cluster.slurm_refused", cause=_get_last_line(cause)) from cause
    return job


def make_job_options(name: str, config: TrainConfig, options: Mapping[str, int | str]) -> dict[str, Any]:
    """Return the options of a job as submitit names them.

    Args:
        name: of the run.
        config: says how many ranks there are, and what each needs.
        options: of the address; they come before what follows from the configuration.

    Returns:
        The options; those of Slurm alone are prefixed.

    Raises:
        RunError: the ranks cannot be shared out evenly among the machines.
    """
    node_count = int(options.get("nodes", 1))
    rank_count = int(config.processes)
    if rank_count % node_count:
        raise RunError("cluster.slurm_nodes", count=rank_count, nodes=node_count)
    ranks_per_node = rank_count // node_count
    chosen: dict[str, Any] = {
        "name": name,
        "timeout_min": JOB_MINUTES,
        "nodes": node_count,
        "tasks_per_node": ranks_per_node,
        "cpus_per_task": config.torch_num_threads or 1,
        "gpus_per_node": ranks_per_node if config.device == "cuda" else 0,
        **{key if key in _SHARED_OPTIONS else f"slurm_{key}": value for key, value in options.items()},
    }
    if not chosen["gpus_per_node"]:
        del chosen["gpus_per_node"]
    # Where one rank ends with an error, the others would wait for it.
    return {"slurm_srun_args": ("--kill-on-bad-exit=1",)} | chosen


def _open_job(run: Run, cluster_job: ClusterJob) -> Job[int]:
    """Return the job of a run, which another process may have submitted.

    Raises:
        RunError: submitit is missing.
    """
    try:
        submitit = lazy_import.import_module("submitit")
    except ImportError as cause:
        raise RunError("cluster.submitit_missing") from cause
    is_local = parse_slurm_address(cluster_job.address)[0] == "local"
    job: Job[int] = (submitit.LocalJob if is_local else submitit.SlurmJob)(run.path / JOB_FOLDER, cluster_job.job)
    return job


def _cancel_job(job: Job[int], cluster_job: ClusterJob) -> None:
    """End a job; errors of Slurm's command propagate.

    Args:
        job: to end.
        cluster_job: its record. submitit's local jobs can be ended only by the process that started them.
    """
    if parse_slurm_address(cluster_job.address)[0] != "local":
        job.cancel()
        return
    with suppress(psutil.NoSuchProcess):
        controller = psutil.Process(int(cluster_job.job))
        for process in [controller, *controller.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _get_last_line(error: BaseException) -> str:
    """Return the last line of an error: that of sbatch, after what submitit and the site print before it."""
    return next(iter(str(error).strip().splitlines()[::-1]), type(error).__name__)
