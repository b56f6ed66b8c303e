"""A run that is queued for Slurm becomes a job there, by submitit, and stays one while it waits for its machines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs import heartbeat
from ftlab.runs.cluster import address
from ftlab.runs.cluster.cluster_job import ClusterJob, read_job
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue.job_queue import JobQueue
from ftlab.runs.slurm import slurm_launcher
from ftlab.runs.slurm.slurm_launcher import SlurmLauncher
from tests.support import fake_slurm
from tests.support.fake_slurm import FakeSlurm

submitit = pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm's commands are shell scripts here")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    monkeypatch.setenv(address.CLUSTER_ENV, "slurm?partition=gpu&nodes=2")
    yield fake_slurm.install(monkeypatch, tmp_path / "bin")
    submitit.SlurmJob.watcher.clear()


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return open_queue(tmp_path / "runs")


def add(queue: JobQueue, processes: int = 4) -> Run:
    return queue.add_training(TrainConfig(sample="shapes", processes=processes, torch_num_threads=3))


def test_the_job_has_a_task_for_each_rank_and_the_options_of_the_address(slurm: FakeSlurm, queue: JobQueue) -> None:
    run = add(queue)
    queue.dispatch()
    assert read_job(run) == ClusterJob("slurm?partition=gpu&nodes=2", "17", 1)
    options = slurm.read_options()
    assert {name: options[name] for name in ("job-name", "nodes", "ntasks-per-node", "cpus-per-task", "partition")} == {
        "job-name": run.name, "nodes": "2", "ntasks-per-node": "2", "cpus-per-task": "3", "partition": "gpu",
    }  # fmt: skip
    assert options["time"] == str(slurm_launcher.JOB_MINUTES)
    assert "gpus-per-node" not in options
    assert slurm.read_command().startswith("srun")
    assert "--kill-on-bad-exit=1" in slurm.read_command()
    task = submitit.SlurmJob(run.path / slurm_launcher.JOB_FOLDER, "17").submission().function
    assert task.command[:4] == ("python", "-m", "ftlab", "train")
    assert task.variables[address.CLUSTER_ENV] == "", "the job must train, not submit once more"


def test_a_gpu_for_each_rank_and_what_the_address_says_goes_before() -> None:
    config = TrainConfig(sample="shapes", processes=4, device="cuda", torch_num_threads=3)
    options = slurm_launcher.make_job_options("run", config, {"nodes": 2, "cpus_per_task": 8, "gres": "gpu:a100:2"})
    assert (options["gpus_per_node"], options["cpus_per_task"], options["slurm_gres"]) == (2, 8, "gpu:a100:2")
    with pytest.raises(RunError, match="4 processes cannot be shared out evenly among 3 nodes"):
        slurm_launcher.make_job_options("run", config, {"nodes": 3})


def test_a_job_that_waits_for_days_is_not_submitted_again(
    slurm: FakeSlurm, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add(queue)
    queue.dispatch()
    monkeypatch.setattr(heartbeat, "HEARTBEAT_TIMEOUT_SECONDS", -1.0)
    (slurm.folder / "script").unlink()
    assert queue.dispatch() == []
    assert run.liveness.get_status() == "queued"
    slurm.set_state("NODE_FAIL")
    submitit.SlurmJob.watcher.clear()
    assert not SlurmLauncher().is_alive(run), "it is gone, and had not begun"
    assert not run.liveness.names_driver()


def test_a_job_that_waits_is_taken_out_of_slurms_queue_and_of_ours(slurm: FakeSlurm, queue: JobQueue) -> None:
    run = add(queue)
    queue.dispatch()
    assert not queue.cancel(run), "Slurm has it"
    queue.terminate(run)
    assert (slurm.folder / "cancelled").read_text(encoding="utf-8") == "17\n"
    assert run.liveness.get_status() == "stopped"
    assert queue.dispatch() == []


def test_what_slurm_refuses_is_told_in_one_line_and_the_run_counts_as_failed(slurm: FakeSlurm, queue: JobQueue) -> None:
    slurm.write_command("sbatch", "echo 'of the site' >&2; echo 'sbatch: error: invalid partition' >&2; exit 1")
    run = add(queue)
    with pytest.raises(RunError) as error:
        queue.start_now(run)
    assert str(error.value) == "Slurm does not take the job: sbatch: error: invalid partition"
    assert run.liveness.get_status() == "failed"
    assert not run.liveness.has_driver()


def test_without_submitit_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pip install submitit"):
        address.declare_cluster("slurm?partition=gpu")


def test_the_options_of_an_address_are_those_of_submitit() -> None:
    assert address.parse_slurm_address("slurm?gres=gpu:2&timeout_min=90") == (
        "slurm", {"gres": "gpu:2", "timeout_min": 90},
    )  # fmt: skip
    assert address.parse_slurm_address("slurm-local") == ("local", {})
