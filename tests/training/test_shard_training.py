"""Trainings on tar shards: from a folder of them as from the images themselves, and frozen ones from a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset.scan import scan
from ftlab.evaluation import datasets, evaluate
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Started
from ftlab.training.loop import train
from tests.support.shard_server import serving_shards
from tests.support.short_trainings import CACHED, FULL, end, figures, go, only


@pytest.fixture
def shards(tmp_path: Path, tiny_folder: Path) -> Path:
    write_shards(scan(tiny_folder), tmp_path / "shards", limits=ShardLimits(5))
    return tmp_path / "shards"


@pytest.mark.parametrize("way", [CACHED, FULL], ids=["frozen", "full"])
def test_a_run_trains_evaluates_and_resumes_on_shards(
    begin: Callable[..., Run], shards: Path, way: dict[str, Any]
) -> None:
    undisturbed = begin(**way, data=str(shards))
    events = go(undisturbed)
    (first,) = only(events, Started)
    assert (first.train_images, first.val_images) == (18, 3)
    stopped = begin(**way, data=str(shards))
    assert end(go(stopped, stop_at=7)).reason == "stopped"
    assert end(go(stopped)).reason == "finished"
    assert figures(stopped.load_history()) == figures(undisturbed.load_history())
    result = evaluate.evaluate(undisturbed, datasets.load_split_dataset(undisturbed, "val"))
    best = max(epoch.val_accuracy for epoch in only(events, Epoch))
    assert (result.logits.argmax(1) == result.labels).mean() == pytest.approx(best)


def test_a_frozen_training_from_a_server_is_that_of_the_shards(begin: Callable[..., Run], shards: Path) -> None:
    local = begin(**CACHED, data=str(shards))
    go(local)
    with serving_shards(shards) as server:
        remote = begin(**CACHED, data=server.url)
        go(remote)
        assert figures(remote.load_history()) == figures(local.load_history())
        result = evaluate.evaluate(remote, datasets.load_split_dataset(remote, "val"))
        assert len(result.paths) == 3


def test_the_feature_store_knows_the_images_of_the_folder_again(
    shards: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    few: dict[str, Any] = {"image_size": 96, "epochs": 1, "torch_num_threads": 1}
    kept_counts = []
    for folder in (tiny_folder, shards):
        run = run_store.create_run(tmp_path / "runs", TrainConfig(data=str(folder), **few))
        notes = [event for event in train(run.load_config(), run) if isinstance(event, LogMessage)]
        kept_counts += [[note.values["kept"] for note in notes if note.code == "features_kept"]]
    assert kept_counts == [[], [21]]
