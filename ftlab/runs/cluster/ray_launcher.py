"""The queue's launcher for a Ray cluster: each training is a job of the cluster. No torch; Ray is imported when used.

A job is submitted through the dashboard of the cluster (Ray Jobs API), so that its driver runs there: it outlives the
process that submits it. What is known of a run is in its directory, which lies on a path that all machines share.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ftlab.core.errors import RunError
from ftlab.runs.cluster.address import CLUSTER_ENV, CURRENT_CLUSTER, select_variables
from ftlab.runs.cluster.cluster_job import ClusterJob, read_job, write_job
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DRIVER_ENV = "FTLAB_CLUSTER_DRIVER"
"""Environment variable: run directory whose ranks this process starts on the machines of the cluster."""
STOP_TIMEOUT_SECONDS = 30.0
"""Seconds that a cluster has to end a job by force."""
_POLL_SECONDS = 0.2


class RayLauncher:
    """Starts trainings as jobs of a Ray cluster; see `ftlab.runs.queue.launcher.Launcher`."""

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        """Submit the job of a run; it goes on when this process ends.

        Args:
            run: the run directory, at a path that all machines of the cluster share.
            command: the command, as a person would type it.
            environment: environment variables; `FTLAB_CLUSTER` has the address.
            working_dir: working directory.

        Raises:
            RunError: the cluster does not answer or does not accept the job.
        """
        client = _connect(environment[CLUSTER_ENV])
        previous_job = read_job(run)
        attempt = previous_job.attempt + 1 if previous_job else 1
        job = ClusterJob(client.get_address(), f"{run.name}-{attempt}", attempt)
        write_job(run, job)
        run.liveness.clear_stop()
        # Before the job exists: the run must not be launched again while its driver starts.
        run.liveness.create_driver_heartbeat().beat()
        # Its output belongs where that of a local process goes; the dashboard keeps what comes before it.
        folder, words, log = shlex.quote(working_dir), shlex.join(command), shlex.quote(str(run.log_path))
        try:
            client.submit_job(
                entrypoint=f"cd {folder}; exec {words} >> {log} 2>&1",
                submission_id=job.job,
                runtime_env={"env_vars": _select_variables(run, environment)},
                metadata={"run": run.name},
            )
        except Exception as cause:  # Ray raises plain RuntimeError, and requests' errors
            run.liveness.end_driver()
            raise RunError("cluster.refused", address=job.address, cause=_get_first_line(cause)) from cause

    def terminate(self, run: Run) -> None:
        """End the job of a run by force; a `RunError` says that there is none, or that the cluster does not answer.

        Args:
            run: the run.

        Raises:
            RunError: as above.
        """
        job = read_job(run)
        if job is None or not self.is_alive(run):
            raise RunError("run.idle", run=run.name)
        client = _connect(job.address)
        run.liveness.mark_force_stop()
        try:
            client.stop_job(job.job)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while not client.get_job_status(job.job).is_terminal():
                if time.monotonic() > deadline:
                    raise RunError("cluster.undead", job=job.job, address=job.address)
                time.sleep(_POLL_SECONDS)
        except RuntimeError as cause:
            raise RunError("cluster.refused", address=job.address, cause=_get_first_line(cause)) from cause
        # Nobody else can: its processes may have been those of another machine.
        run.liveness.end_driver()
        run.liveness.release_ownership()

    def is_alive(self, run: Run) -> bool:
        """Return whether the driver of a run, or one of its ranks, is alive."""
        return run.liveness.has_driver() or run.liveness.is_process_alive()


def _connect(address: str) -> JobSubmissionClient:
    """Return a client of a cluster.

    Args:
        address: of its dashboard, or `auto`.

    Returns:
        The client.

    Raises:
        RunError: Ray is not installed here, no cluster answers, or the environment names another one.
    """
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as cause:
        raise RunError("cluster.missing") from cause
    try:
        client = JobSubmissionClient(None if address == CURRENT_CLUSTER else address)
    except Exception as cause:  # ConnectionError, RuntimeError, or an error of requests
        raise RunError("cluster.unreachable", address=address, cause=_get_first_line(cause)) from cause
    # RAY_ADDRESS and RAY_API_SERVER_ADDRESS override the address that Ray's client is given, without a word.
    if address != CURRENT_CLUSTER and client.get_address().rstrip("/") != address.rstrip("/"):
        raise RunError("cluster.overridden", address=address, actual=client.get_address())
    return client


def _select_variables(run: Run, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that a job gets: nothing private of this process leaves the machine.

    Args:
        run: the run.
        environment: that of the training.
    """
    return {
        **select_variables(environment, lambda name: name.startswith("FTLAB_")),
        CLUSTER_ENV: "",
        DRIVER_ENV: str(run.path),
        "PYTHONUNBUFFERED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _get_first_line(error: BaseException) -> str:
    """Return the first line of an error: Ray adds a traceback of its server."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
