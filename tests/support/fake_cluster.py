"""A cluster of no machines: it takes jobs as Ray's client does, and its one task runs in this process."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.runs.cluster import address, ray_launcher


class JobStatus(Enum):
    """The two of Ray's that matter here."""

    RUNNING, STOPPED = "RUNNING", "STOPPED"

    def is_terminal(self) -> bool:
        return self is JobStatus.STOPPED


class FakeCluster:
    """What was submitted; stands for `ray.job_submission.JobSubmissionClient`."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, JobStatus] = {}
        self.refusal = ""

    def get_address(self) -> str:
        return "http://head:8265"

    def submit_job(self, **job: Any) -> str:
        if self.refusal or job["submission_id"] in self.jobs:
            raise RuntimeError(f"{self.refusal or 'submitted already'}\nTraceback of the server")
        self.jobs[job["submission_id"]], self.statuses[job["submission_id"]] = job, JobStatus.RUNNING
        return str(job["submission_id"])

    def stop_job(self, job: str) -> bool:
        self.statuses[job] = JobStatus.STOPPED
        return True

    def get_job_status(self, job: str) -> JobStatus:
        return self.statuses[job]

    def variables(self) -> dict[str, str]:
        """Environment of the only job."""
        (job,) = self.jobs.values()
        return dict(job["runtime_env"]["env_vars"])


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Let this process find a cluster at any address, with Ray installed."""
    cluster = FakeCluster()
    monkeypatch.setattr(address, "find_spec", lambda _name: object())
    monkeypatch.setattr(ray_launcher, "_connect", lambda _address: cluster)
    monkeypatch.delenv(address.CLUSTER_ENV, raising=False)
    return cluster


def make_ray(resources: dict[str, float], losses: int = 0) -> tuple[SimpleNamespace, dict[str, float]]:
    """A module `ray` that runs a task here, again after each lost machine; and the options that the task gets."""
    options: dict[str, float] = {}

    def remote(function: Callable[..., None]) -> SimpleNamespace:
        def run(*arguments: object) -> None:
            for _ in range(losses + 1):
                function(*arguments)

        return SimpleNamespace(options=lambda **given: options.update(given) or SimpleNamespace(remote=run))

    ray = SimpleNamespace(
        init=lambda **_options: None, cluster_resources=lambda: resources, remote=remote, get=lambda value: value
    )
    return ray, options
