"""Real photographs, ants and bees: what a person gets who presses Start untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftlab.config import backbones
from ftlab.data.dataset import scan
from ftlab.data.images import decode
from ftlab.evaluation import datasets, evaluate
from ftlab.inference import load_model
from ftlab.runs import run_store

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> Path:
    return shared_data / "data" / "hymenoptera"


@pytest.fixture
def train(photographs: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Any) -> Any:
    """Train by the command line; its end as `--json` tells it."""

    def trained(*flags: str) -> dict[str, Any]:
        monkeypatch.setenv("TORCH_HOME", str(shared_data / "torch_home"))
        status, out, err = say("train", "--data", photographs, "--runs", tmp_path, *flags, "--json")
        assert status == 0, err
        end: dict[str, Any] = json.loads(out)
        assert end["reason"] == "finished"
        return end

    return trained


def test_the_folder_is_read_whole_with_its_odd_one_out(photographs: Path) -> None:
    found = scan.scan(photographs)
    assert found.count_images() == {
        "ants": {"train": 124, "val": 70, "test": 0},
        "bees": {"train": 121, "val": 83, "test": 0},
    }
    assert (found.layout, found.problems) == ("split", ())
    # A drawing that says "image not found" is a good picture, as far as a program can tell.
    odd = next(item for item in found.splits["train"] if item.path.endswith(".gif"))
    assert odd.path == "train/ants/imageNotFound.gif"
    assert decode.read_image(found.image_path(odd)).shape[2] == 3


def test_the_default_backbone_frozen(train: Any) -> None:
    end = train()
    assert end["best_val_accuracy"] >= 0.93
    run = run_store.find_run(Path(end["path"]).parent, end["run"])
    assert (run.load_config().backbone, run.load_config().mode) == (backbones.DEFAULT_BACKBONE, "frozen")
    untrained = run.load_history().epochs[0].val_accuracy
    assert untrained is not None
    assert untrained < 0.75
    found = evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, "val")).metrics.top1
    assert found.n == 153
    # The faster copy that gave the features rounds otherwise: a picture on the border may change sides.
    assert found.fraction == pytest.approx(end["best_val_accuracy"], abs=1.5 / 153)


@pytest.mark.parametrize(
    ("flags", "least"),
    [(("--mode", "frozen"), 0.95), (("--mode", "full", "--epochs", "2", "--image-size", "128"), 0.9)],
    ids=["frozen", "full, two epochs of small pictures"],
)
def test_mobilenet(train: Any, flags: tuple[str, ...], least: float) -> None:
    assert train("--backbone", "mobilenet_v2", *flags)["best_val_accuracy"] >= least


def test_the_untrained_default_tells_ants_from_bees_among_a_thousand_things(photographs: Path) -> None:
    model = load_model.load_predictor(None)
    files = {"ant": photographs / "val" / "ants", "bee": photographs / "val" / "bees"}
    named = [
        model.predict(file, 1)[0].name == name
        for name, folder in files.items()
        for file in sorted(folder.iterdir())[::3]
    ]
    assert len(named) == 52
    assert sum(named) >= 41
