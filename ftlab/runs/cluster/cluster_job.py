"""What a run directory says of the job that trains the run on a cluster (`cluster.json`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ftlab.core import json_fields
from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

JOB_FILE = "cluster.json"


@dataclass(frozen=True)
class ClusterJob:
    """The last job of a run on a cluster. The field names are the keys of `cluster.json`.

    Attributes:
        address: of the cluster's dashboard.
        job: submission ID of the job, which the cluster accepts once.
        attempt: how often the run was submitted.
        error: a user's mistake that a further attempt would meet again; empty if there is none.
    """

    address: str
    job: str
    attempt: int
    error: str = ""


def read_job(run: Run) -> ClusterJob | None:
    """Return the last job of a run on a cluster; None if there was none."""
    try:
        return json_fields.build_dataclass(ClusterJob, run.read_json(JOB_FILE))
    except (RunError, ValueError, TypeError):
        return None


def write_job(run: Run, job: ClusterJob) -> None:
    """Record the job of a run; a `RunError` says that the folder cannot be written.

    Args:
        run: the run.
        job: its job.
    """
    run.write_json(JOB_FILE, dataclasses.asdict(job))


def forbid_retry(run: Run, error: str) -> None:
    """Record a user's mistake, after which the ranks are not started again.

    Args:
        run: the run.
        error: its sentence.
    """
    job = read_job(run)
    if job is not None:
        write_job(run, dataclasses.replace(job, error=error))
