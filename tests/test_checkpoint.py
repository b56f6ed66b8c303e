"""Checkpoints: there whole or not at all, and everything a training needs to go on is in one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ftlab import runs
from ftlab.config import TrainConfig
from ftlab.errors import RunError
from ftlab.models.network import Network
from ftlab.runs import Run
from ftlab.training import checkpoint
from ftlab.training.checkpoint import Keeper, Position

OLD, NEW = {"x": torch.arange(3)}, {"x": torch.zeros(1000)}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def refusing(*_: object, **__: object) -> None:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.create(tmp_path / "runs", TrainConfig(sample="shapes"))


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(backbone, nn.Linear(4, 2))


def learn(net: Network, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        net(torch.randn(3, 3, 8, 8, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def optimizers(net: nn.Module, kind: str) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=0.01) if kind == "adamw" else torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9
    )  # fmt: skip


# Files


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(2, 3).t(),
        "b": torch.tensor(7),
        "c": torch.zeros(1, 3, 2, 2).to(memory_format=torch.channels_last),
    }
    checkpoint.write(tmp_path / "x", tensors, {"epoch": 3, "name": "ü"})
    found, header = checkpoint.load(tmp_path / "x")
    assert header == {"epoch": 3, "name": "ü"}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert files(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("where", "what"),
    [("os.replace", full_disk), ("os.fsync", full_disk), ("ftlab.training.checkpoint.save_file", refusing)],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: Any
) -> None:
    checkpoint.write(tmp_path / "x", OLD, {"epoch": 1})
    monkeypatch.setattr(where, what)
    with pytest.raises((OSError, SafetensorError)):
        checkpoint.write(tmp_path / "x", NEW, {"epoch": 2})
    assert checkpoint.load(tmp_path / "x")[1] == {"epoch": 1}
    assert files(tmp_path) == ["x"]


def test_nothing_is_in_place_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def noted(name: str) -> Any:
        real = getattr(os, name)

        def call(*arguments: Any) -> Any:
            told.append(name)
            return real(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    checkpoint.write(tmp_path / "x", OLD, {})
    assert told == ["fsync", "replace"]


# Going on


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_network_optimizer_and_position_are_put_back(run: Run, kind: str) -> None:
    net = network()
    optimizer = optimizers(net, kind)
    learn(net, optimizer)
    position = Position(
        epoch=3, done=2, step=22, best_epoch=1, best_accuracy=0.5, best_loss=1.25, sums=[0.1, 2, 3, 4] * 2
    )
    Keeper(run, net, net, optimizer).save(position)

    other = network(seed=9)
    again = optimizers(other, kind)
    assert Keeper(run, other, other, again).restore() == position == checkpoint.reached(run)
    for one, two in ((net, optimizer), (other, again)):
        learn(one, two)
    assert all(torch.equal(net.state_dict()[key], other.state_dict()[key]) for key in net.state_dict())


def test_a_new_run_has_nothing_to_go_on_from(run: Run) -> None:
    net = network()
    assert Keeper(run, net, net, optimizers(net, "sgd")).restore() is None
    assert checkpoint.reached(run) == Position()


def test_of_a_frozen_network_the_state_holds_the_head_and_the_best_the_whole(run: Run) -> None:
    net = network()
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=0.01)
    keeper = Keeper(run, net, net.head, optimizer)
    position = Position(epoch=1)
    learn(net, optimizer)
    assert keeper.improves(position, 0.5, 1.0)
    aside = {key: value.clone() for key, value in net.state_dict().items()}
    net.eval()
    learn(net, optimizer)
    keeper.save(position)

    best, header = checkpoint.load(run.best)
    assert header == {"epoch": 1, "val_accuracy": 0.5}
    assert best.keys() == aside.keys()
    assert all(torch.equal(best[key], aside[key]) for key in aside)
    with safe_open(run.last, framework="pt") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"module", "optimizer"}  # noqa: SIM118
        assert {key for key in file.keys() if key.startswith("module")} == {"module.weight", "module.bias"}  # noqa: SIM118


# The best


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1.0), (0.6, 2.0), (0.4, 0.1)], 1),
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.95)], 1),
        ([(0.5, 1.0), (0.5, 1.0)], 0),
        ([(0.5, 1.0), (0.9, float("nan")), (1.0, float("inf"))], 0),
        ([(None, None), (0.0, 9.0)], 1),
        ([(float("nan"), float("nan"))], None),
    ],
)
def test_the_best_is_the_most_accurate_then_the_surest_and_never_a_nan(
    run: Run, figures: list[tuple[float | None, float | None]], best: int | None
) -> None:
    net = network()
    keeper = Keeper(run, net, net, optimizers(net, "sgd"))
    position = Position()
    for epoch, (accuracy, loss) in enumerate(figures):
        position.epoch = epoch
        keeper.improves(position, accuracy, loss)
    assert position.best_epoch == best
    assert keeper.save_best(position) == ([] if best is None else ["best"])
    assert keeper.save_best(position) == []


def test_saving_takes_a_small_share_of_the_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    keeper = Keeper(run, net, net, optimizers(net, "sgd"))
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def slow(*_: object) -> None:
        nonlocal now
        now += 2.0

    monkeypatch.setattr(checkpoint, "write", slow)
    assert keeper.due()
    keeper.save(Position())
    for passed, due in ((0, False), (19, False), (20, True)):
        now = 102.0 + passed
        assert keeper.due() is due


# What goes wrong


def spoilt(file: Path, how: str) -> None:
    whole = file.read_bytes()
    if how == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "text":
        file.write_text("nothing of the kind\n" * 10)
    elif how == "bare":
        checkpoint.write(file, {"module.0.weight": torch.zeros(1)}, {})
    elif how == "other fields":
        checkpoint.write(file, checkpoint.load(file)[0], {"position": {"epoche": 3}, "optimizer": {}})
    elif how == "other network":
        tensors, header = checkpoint.load(file)
        checkpoint.write(file, {key: torch.zeros(7) for key in tensors}, header)


@pytest.mark.parametrize("how", ["cut", "empty", "text", "bare", "other fields", "other network"])
def test_a_damaged_state_is_named_in_one_line(run: Run, how: str) -> None:
    net = network()
    optimizer = optimizers(net, "adamw")
    learn(net, optimizer)
    keeper = Keeper(run, net, net, optimizer)
    keeper.save(Position(epoch=1))
    spoilt(run.last, how)
    asked = [keeper.restore] if how == "other network" else [keeper.restore, lambda: checkpoint.reached(run)]
    for ask in asked:
        with pytest.raises(RunError, match=r"state\.safetensors is damaged") as caught:
            ask()
        assert caught.value.code == "run.damaged"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", [full_disk, refusing])
def test_a_full_disk_is_the_persons_to_mend(run: Run, monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    net = network()
    monkeypatch.setattr(checkpoint, "save_file", what)
    with pytest.raises(RunError, match="No space left on device") as caught:
        Keeper(run, net, net, optimizers(net, "sgd")).save(Position())
    assert caught.value.code == "run.write"
    assert files(run.path) == ["config.json"]


def test_the_header_is_readable_json_for_anyone(run: Run) -> None:
    net = network()
    Keeper(run, net, net, optimizers(net, "sgd")).save(Position(epoch=2, step=5))
    with safe_open(run.last, framework="pt") as file:
        assert json.loads(file.metadata()["ftlab"])["position"]["step"] == 5
