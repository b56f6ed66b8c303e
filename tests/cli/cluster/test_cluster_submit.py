"""`train --cluster` returns as soon as the cluster has the job; a wrong address creates no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.runs import run_store
from ftlab.runs.directory import Run
from tests.support import fake_cluster
from tests.support.fake_cluster import FakeCluster

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setenv("FTLAB_CLUSTER", "")
    return fake_cluster.install(monkeypatch)


def test_a_training_is_submitted_listed_and_ended(say: Say, cluster: FakeCluster, tmp_path: Path) -> None:
    train = ("train", "--sample", "shapes", "--runs", tmp_path, "--cluster", "http://head:8265", "--json")
    status, out, err = say(*train)
    answer = json.loads(out)
    run = Run(tmp_path / answer["run"])
    assert (status, answer["job"]) == (0, f"{run.name}-1")
    assert str(run.path) in err
    assert run.name in say("queue", "--runs", tmp_path)[1]
    assert say("stop", run.name, "--runs", tmp_path, "--now")[0] == 0
    assert cluster.statuses[f"{run.name}-1"].is_terminal()


@pytest.mark.usefixtures("cluster")
def test_a_client_address_creates_no_run(say: Say, tmp_path: Path) -> None:
    status, _, err = say("train", "--sample", "shapes", "--runs", tmp_path, "--cluster", "ray://head:10001")
    assert status == 2
    assert "http://head:8265" in err
    assert run_store.list_run_names(tmp_path) == []


def test_with_the_queue_the_job_is_submitted_in_its_turn(say: Say, cluster: FakeCluster, tmp_path: Path) -> None:
    status, out, _ = say("train", "--sample", "shapes", "--runs", tmp_path, "--queue", "--cluster", "auto")
    assert status == 0
    assert "trains it" in out
    assert len(cluster.jobs) == 1


def test_a_run_of_the_cluster_is_not_resumed_twice(say: Say, cluster: FakeCluster, tmp_path: Path) -> None:
    say("train", "--sample", "shapes", "--runs", tmp_path, "--cluster", "auto")
    (name,) = run_store.list_run_names(tmp_path)
    status, _, err = say("resume", name, "--runs", tmp_path)
    assert status == 2
    assert "still training" in err
    assert len(cluster.jobs) == 1
