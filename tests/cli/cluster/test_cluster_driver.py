"""The driver of a cluster's job begins once, starts the rank where there is room, and hears a stop before it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.cli.cluster import cluster_driver
from ftlab.cli.common import train_process
from ftlab.config.train_config import TrainConfig
from ftlab.core import lazy_import
from ftlab.runs.cluster.address import CLUSTER_ENV
from ftlab.runs.cluster.cluster_job import read_job
from ftlab.runs.cluster.ray_launcher import DRIVER_ENV
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch
from ftlab.runs.jobs.local_launcher import open_queue
from tests.support import drawn_images, fake_cluster


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose job the cluster has accepted; this process is its driver."""
    fake_cluster.install(monkeypatch)
    monkeypatch.setenv(CLUSTER_ENV, "http://head:8265")
    queue = open_queue(tmp_path / "runs")
    pictures = str(drawn_images.tiny(tmp_path / "pictures"))
    run = queue.add_training(
        TrainConfig(data=pictures, mode="scratch", backbone="timm/test_vit", epochs=1, torch_num_threads=1)
    )
    queue.start_now(run)
    monkeypatch.setenv(CLUSTER_ENV, "")
    monkeypatch.setenv(DRIVER_ENV, str(run.path))
    return run


def use(monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], losses: int = 0) -> dict[str, float]:
    ray, options = fake_cluster.make_ray(resources, losses)
    real = lazy_import.import_module
    monkeypatch.setattr(lazy_import, "import_module", lambda name: ray if name == "ray" else real(name))
    return options


def test_a_run_is_trained_once_however_often_its_machine_is_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    options = use(monkeypatch, {"CPU": 4.0}, losses=2)
    assert cluster_driver.is_driver()
    assert cluster_driver.drive_run() == 0
    assert run.liveness.get_status() == "finished"
    assert [event.epoch for event in run.read_events()[0] if isinstance(event, Epoch)] == [0, 1]
    assert options == {"num_cpus": 1.0, "num_gpus": 0.0, "max_retries": cluster_driver.MAX_RETRIES}
    assert not run.liveness.has_driver()


def test_several_ranks_are_workers_of_ray_train_each_with_its_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def train_as_one(function: Callable[[dict[str, Any]], None], **options: Any) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(fit=lambda: function(options["train_loop_config"]))

    ray, _ = fake_cluster.make_ray({"GPU": 2.0})
    ray.train = SimpleNamespace(ScalingConfig=SimpleNamespace, RunConfig=SimpleNamespace, FailureConfig=SimpleNamespace)
    modules = {"ray": ray, "ray.train.torch": SimpleNamespace(TorchTrainer=train_as_one)}
    real = lazy_import.import_module
    monkeypatch.setattr(lazy_import, "import_module", lambda name: modules.get(name) or real(name))
    content = run.read_config_file()
    run.write_json("config.json", {**content, "config": {**content["config"], "processes": 64}})
    trained: list[str] = []
    monkeypatch.setattr(train_process, "run_training", lambda run, _config: trained.append(run.name))
    cluster_driver.drive_run()
    assert trained == [run.name]
    scaling = given["scaling_config"]
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (64, True, {"CPU": 1.0, "GPU": 1.0})
    assert given["run_config"].failure_config.max_failures == cluster_driver.MAX_RETRIES


def test_a_job_whose_run_was_cancelled_or_taken_does_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, {})
    (run.path / "queued").unlink()
    assert cluster_driver.drive_run() == 0
    assert run.read_events()[0] == []


def test_a_stop_before_the_beginning_is_heard(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, {})
    run.liveness.request_stop()
    assert cluster_driver.drive_run() == 0
    assert run.liveness.get_status() == "stopped"


def test_a_mistake_ends_the_run_with_its_sentence(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, {"CPU": 1.0})
    content = run.read_config_file()
    missing = str(tmp_path / "gone")
    run.write_json("config.json", {**content, "config": {**content["config"], "data": missing}})
    assert cluster_driver.drive_run() == 2
    assert run.liveness.get_status() == "failed"
    job, end_event = read_job(run), run.liveness.read_end_event()
    assert job is not None
    assert end_event is not None
    assert end_event.message is not None
    assert missing in job.error
    assert missing in end_event.message


@pytest.mark.parametrize(
    ("device", "resources", "gpus"), [("cpu", {"GPU": 2.0}, 0.0), ("auto", {"GPU": 2.0}, 1.0), ("cuda", {}, 1.0)]
)
def test_the_rank_goes_where_the_device_is_that_it_asks_for(
    device: str, resources: dict[str, float], gpus: float, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = use(monkeypatch, resources)
    monkeypatch.setattr(cluster_driver, "_train_alone", lambda *_arguments: None)
    content = run.read_config_file()
    run.write_json("config.json", {**content, "config": {**content["config"], "device": device}})
    assert cluster_driver.drive_run() == 2, "it left no event"
    assert options["num_gpus"] == gpus
