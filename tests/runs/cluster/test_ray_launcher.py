"""A run that is queued for a cluster becomes a job there; its directory says whether it goes on, and ends it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs import heartbeat
from ftlab.runs.cluster.address import CLUSTER_ENV
from ftlab.runs.cluster.cluster_job import ClusterJob, forbid_retry, read_job
from ftlab.runs.cluster.ray_launcher import DRIVER_ENV, RayLauncher, _connect
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue import marker
from ftlab.runs.queue.job_queue import JobQueue
from tests.support import fake_cluster
from tests.support.fake_cluster import FakeCluster

ADDRESS = "http://head:8265"
FAILED = Ended(reason="failed", epoch=0, step=0, best_epoch=None, best_val_accuracy=None, seconds=0.0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    cluster = fake_cluster.install(monkeypatch)
    monkeypatch.setenv(CLUSTER_ENV, ADDRESS)
    return cluster


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return open_queue(tmp_path / "runs")


def add(queue: JobQueue) -> Run:
    return queue.add_training(TrainConfig(sample="shapes"))


def test_the_job_is_the_command_of_the_run_and_its_output_goes_to_the_log(
    cluster: FakeCluster, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    run = add(queue)
    queue.dispatch()
    assert read_job(run) == ClusterJob(ADDRESS, f"{run.name}-1", 1)
    entrypoint = cluster.jobs[f"{run.name}-1"]["entrypoint"]
    assert "exec python -m ftlab train --sample shapes" in entrypoint
    assert entrypoint.endswith(f">> {run.log_path} 2>&1")
    variables = cluster.variables()
    assert variables[DRIVER_ENV] == str(run.path)
    assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
    assert variables[CLUSTER_ENV] == "", "the driver must train, not submit once more"
    assert "HF_TOKEN" not in variables


@pytest.mark.usefixtures("cluster")
def test_a_run_of_the_cluster_waits_for_no_device_of_this_machine(queue: JobQueue) -> None:
    runs = [add(queue) for _ in range(3)]
    assert [run.name for run in queue.dispatch()] == [run.name for run in runs]
    assert queue.dispatch() == [], "what is submitted is not submitted again"
    assert [job.run.name for job in queue.read_state().active] == sorted(run.name for run in runs)[::-1]


def test_what_is_queued_for_this_machine_stays_here(cluster: FakeCluster, queue: JobQueue) -> None:
    run = add(queue)
    environment = marker.read_marker(run)
    assert environment is not None
    assert environment.is_for_cluster
    queue.start_now(run)
    assert len(cluster.jobs) == 1
    queue.start_now(run)
    assert len(cluster.jobs) == 1


def test_the_run_waits_until_its_ranks_begin_and_while_they_are_started_again(
    cluster: FakeCluster, queue: JobQueue
) -> None:
    run = add(queue)
    queue.start_now(run)
    assert run.liveness.get_status() == "queued"
    marker.remove_marker(run)  # its driver has begun
    assert run.liveness.get_status() == "waiting"
    run.append_event(FAILED)  # a machine was lost
    assert run.liveness.get_status() == "waiting"
    run.liveness.end_driver()
    assert run.liveness.get_status() == "failed"
    queue.add_resume(run)
    queue.dispatch()
    assert list(cluster.jobs) == [f"{run.name}-1", f"{run.name}-2"]


def test_a_driver_that_is_silent_for_long_is_gone(
    cluster: FakeCluster, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add(queue)
    queue.start_now(run)
    marker.remove_marker(run)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_TIMEOUT_SECONDS", -1.0)
    assert not RayLauncher().is_alive(run)
    assert cluster.jobs


def test_a_job_is_ended_by_force_through_the_cluster(cluster: FakeCluster, queue: JobQueue) -> None:
    run = add(queue)
    queue.start_now(run)
    marker.remove_marker(run)
    queue.terminate(run)
    assert cluster.statuses[f"{run.name}-1"].is_terminal()
    assert run.liveness.get_status() == "stopped"
    with pytest.raises(RunError, match="not training"):
        RayLauncher().terminate(run)


def test_a_cluster_that_refuses_is_told_in_one_line_and_the_run_counts_as_failed(
    cluster: FakeCluster, queue: JobQueue
) -> None:
    cluster.refusal = "No available agent"
    run = add(queue)
    with pytest.raises(RunError) as error:
        queue.start_now(run)
    assert str(error.value) == f"The cluster {ADDRESS} does not take the job: No available agent"
    assert run.liveness.get_status() == "failed"


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.job_submission", None)
    with pytest.raises(RunError, match="pip install"):
        _connect(ADDRESS)


def test_no_variable_of_ray_leads_a_run_to_another_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()  # at the address of RAY_ADDRESS, whatever the client is given
    ray = SimpleNamespace(JobSubmissionClient=lambda _address: cluster)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(job_submission=ray))
    monkeypatch.setitem(sys.modules, "ray.job_submission", ray)
    with pytest.raises(RunError, match="RAY_ADDRESS"):
        _connect("http://other:8265")
    assert _connect(ADDRESS) is cluster
    assert _connect("auto") is cluster


@pytest.mark.usefixtures("cluster")
def test_a_mistake_of_the_user_is_kept_for_the_next_attempt(queue: JobQueue) -> None:
    run = add(queue)
    forbid_retry(run, "lost")
    assert read_job(run) is None, "no job, no attempt"
    queue.start_now(run)
    forbid_retry(run, "There is no folder.")
    job = read_job(run)
    assert job is not None
    assert job.error == "There is no folder."


def test_a_process_of_another_machine_is_known_by_its_heartbeat(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CLUSTER_ENV, raising=False)
    run = add(queue)
    marker.remove_marker(run)
    run.write_json("pid", {"pid": 1, "created": 0.0, "host": "elsewhere"})
    beat = {"awake": 0.0, "time": 4e9, "step": 0.0, "memory": 1, "host": "elsewhere"}
    (run.path / "heartbeat").write_text(json.dumps(beat), encoding="utf-8")
    assert run.liveness.get_status() == "running"
    assert run.liveness.find_process() is None
    with pytest.raises(RunError, match="still training"):
        run.liveness.claim_ownership()
    (run.path / "heartbeat").write_text(json.dumps({**beat, "time": 1.0}), encoding="utf-8")
    assert run.liveness.get_status() == "died"
    run.liveness.claim_ownership()
    assert run.liveness.get_status() == "running"
    run.liveness.release_ownership()
