"""A head that does not name its classes is tried in each usual order on training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage
from ftlab.training.checkpoints import class_order
from ftlab.training.loop import train
from tests.support.tiny_backbone import TINY

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ["1", "2", "10", "ant", "Cat"]
"""In natural order; as text they are 1, 10, 2, Cat, ant."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five classes of one gray value each."""
    for level, name in enumerate(NAMES):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((16, 16, 3), 50 * level + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def test_the_usual_orders_are_listed_once_each() -> None:
    assert class_order.list_class_orders(NAMES) == {
        "natural": (0, 1, 2, 3, 4),
        "text": (0, 2, 1, 4, 3),
        "folded": (0, 2, 1, 3, 4),
    }
    assert list(class_order.list_class_orders(["ants", "bees"])) == ["natural"]


@pytest.mark.parametrize(
    ("accuracy", "class_count", "near"),
    [(0.6, 2, True), (0.85, 2, False), (0.4, 4, True), (0.45, 4, False), (0.15, 12, True), (0.2, 12, False)],
)
def test_a_head_for_other_classes_is_told_from_one_that_errs(accuracy: float, class_count: int, *, near: bool) -> None:
    assert class_order.is_near_chance(accuracy, class_count) is near


def go(run: Run) -> tuple[float, list[LogMessage]]:
    """Accuracy of the network as it starts, and what was said."""
    accuracy, messages = -1.0, []
    for event in train(run.load_config(), run):
        run.append_event(event)
        if isinstance(event, Epoch) and event.epoch == 0:
            accuracy = event.val_accuracy or 0.0
        if isinstance(event, LogMessage):
            messages.append(event)
    return accuracy, messages


def test_the_order_that_fits_the_images_is_taken_and_said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbones.BACKBONES, TINY.name, TINY)

    def begin(**fields: object) -> Run:
        common = {"data": str(pictures), "backbone": TINY.name, "torch_num_threads": 1, "batch_size": 8}
        config = TrainConfig(**{**common, "hflip": 0.0, **fields})  # type: ignore[arg-type]
        return run_store.create_run(tmp_path / "runs", config)

    first = begin(mode="scratch", epochs=40, learning_rate=0.02, crop_scale=1.0)
    go(first)
    trained = weights_file.load_tensors(first.best_weights_path)[0]
    rows = [NAMES.index(name) for name in sorted(NAMES)]
    head = {name: trained[f"head.{name}"][rows] for name in ("weight", "bias")}
    torch.save({**trained, "head.weight": head["weight"], "head.bias": head["bias"]}, "theirs.pth")

    run = begin(mode="frozen", epochs=1, learning_rate=1e-8, init_from=str(Path("theirs.pth").absolute()))
    accuracy, said = go(run)
    assert accuracy == pytest.approx(max(e.val_accuracy or 0 for e in first.load_history().epochs), abs=0.21)
    assert [message.code for message in said if message.code.startswith("init_order")] == ["init_order"]
    started = weights_file.load_tensors(run.best_weights_path)[0]
    torch.testing.assert_close(started["head.bias"], trained["head.bias"], rtol=0, atol=1e-5)
    assert run.read_json("config.json")["init"]["class_rows"] == [0, 2, 1, 4, 3]
