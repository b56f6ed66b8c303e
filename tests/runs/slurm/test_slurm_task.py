"""What a job of Slurm runs: a rank that takes the run once, and goes on with it where Slurm starts the job again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.cluster import address, cluster_job
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.slurm import slurm_launcher, slurm_task
from tests.support.staged_jobs import Stage

submitit = pytest.importorskip("submitit")

FINISHING = """
import os, sys
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.queue import start_gate
assert start_gate.pass_gate()
run = Run(os.environ["FTLAB_RUN"])
run.liveness.claim_ownership()
print("trained in", run.name, os.environ.get("RANK"))
run.append_event(Ended(reason="finished", epoch=1, step=1, best_epoch=1, best_val_accuracy=1.0, seconds=0.0))
run.liveness.release_ownership()
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that is queued for Slurm, in whose place submitit's debugger runs the job in this process."""
    monkeypatch.setenv(address.CLUSTER_ENV, "slurm")
    monkeypatch.setitem(address.SLURM_EXECUTORS, "slurm", "debug")
    return open_queue(tmp_path / "runs").add_training(TrainConfig(sample="shapes"))


@pytest.fixture
def submit(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Submits the run, and returns the job, which has not begun."""
    jobs: list[Any] = []
    submit_task = slurm_launcher.submit_task

    def keep_job(*arguments: Any) -> Any:
        jobs.append(submit_task(*arguments))
        return jobs[-1]

    monkeypatch.setattr(slurm_launcher, "submit_task", keep_job)
    monkeypatch.setattr(
        logging, "FileHandler", lambda _path: logging.NullHandler()
    )  # the debugger closes none of its own

    def submit_run() -> Any:
        open_queue(run.path.parent).start_now(run)
        return jobs[-1]

    return submit_run


def read_log(run: Run) -> str:
    return run.log_path.read_text(encoding="utf-8") if run.log_path.exists() else ""


def test_the_job_trains_the_run_and_leaves_it_finished(run: Run, stage: Stage, submit: Callable[[], Any]) -> None:
    stage.code = FINISHING
    job = submit()
    assert run.liveness.get_status() == "queued"
    assert job.results() == [0]
    assert run.liveness.get_status() == "finished"
    assert not run.liveness.names_driver()
    assert read_log(run) == f"trained in {run.name} None\n"


def test_a_job_that_slurm_starts_again_goes_on_but_not_after_the_end(
    run: Run, stage: Stage, submit: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.code = FINISHING
    job = submit()
    run.liveness.set_owner(1)  # of a machine that is lost
    (run.path / "queued").unlink()
    assert job.results() == [0]
    assert run.liveness.get_status() == "finished"
    task = job.submission().function
    assert task.checkpoint().function == task, "what submitit puts into the queue again"
    monkeypatch.setenv("SUBMITIT_DEBUG_JOB_ID", job.job_id)
    assert task() == 0
    assert len(stage.processes) == 1


def test_a_job_whose_run_another_job_has_taken_does_nothing(run: Run, stage: Stage, submit: Callable[[], Any]) -> None:
    job = submit()
    (run.path / "queued").unlink()
    cluster_job.write_job(run, cluster_job.ClusterJob("slurm", "18", 2))
    assert job.results() == [0]
    assert stage.processes == []
    assert run.liveness.names_driver(), "the other job's"


def test_a_stop_before_the_job_begins_is_heard(run: Run, stage: Stage, submit: Callable[[], Any]) -> None:
    job = submit()
    run.liveness.request_stop()
    assert job.results() == [0]
    assert stage.processes == []
    assert run.liveness.get_status() == "stopped"
    assert not run.liveness.names_driver()


def test_a_rank_that_fails_ends_its_job(
    stage: Stage, submit: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdb.post_mortem", lambda *_arguments: None)  # submitit's debugger debugs
    stage.code = "raise SystemExit(2)"
    with pytest.raises(RunError, match="rank 0: exit status 2"):
        submit().results()


def test_ranks_find_each_other_by_what_slurm_says(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        **{"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2"},
        **{"SLURM_JOB_NODELIST": "node[07-08]", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"},
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ranks = slurm_task.read_rank_variables()
    port = ranks.pop("MASTER_PORT")
    assert ranks == {
        **{"MASTER_ADDR": "node07", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
    }
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert slurm_task.read_rank_variables()["MASTER_PORT"] == port, "alike for all ranks"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert slurm_task.read_rank_variables() == {}
