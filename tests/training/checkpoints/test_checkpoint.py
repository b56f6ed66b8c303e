"""Checkpoints: there whole or not at all, and everything a training needs to go on is in one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.models.network import Network
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.training.checkpoints import checkpoint
from ftlab.training.checkpoints.checkpoint import CheckpointManager, TrainState
from ftlab.training.optim.plateau import PlateauState


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def refusing(*_: object, **__: object) -> None:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes"))


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


# Going on


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_network_optimizer_and_position_are_put_back(run: Run, kind: str) -> None:
    net = network()
    optimizer = optimizers(net, kind)
    learn(net, optimizer)
    position = TrainState(
        epoch=3, done=2, step=22, best_epoch=1, best_accuracy=0.5, best_loss=1.25, sums=[0.1, 2, 3, 4] * 2
    )
    position.plateau = PlateauState(share=0.04, best=0.5, before=0.4, bad=1, cuts=2)
    CheckpointManager(run, net, net, optimizer).save_state(position)

    other = network(seed=9)
    again = optimizers(other, kind)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    assert (state.train_state, state.newer_file_error) == (position, "")
    CheckpointManager(run, other, other, again).restore_state(state)
    for one, two in ((net, optimizer), (other, again)):
        learn(one, two)
    assert all(torch.equal(net.state_dict()[key], other.state_dict()[key]) for key in net.state_dict())


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_a_fused_step_goes_on_to_the_bit_whatever_the_layout_of_the_weights(run: Run, kind: Any) -> None:
    def learner(seed: int) -> tuple[Network, torch.optim.Optimizer]:
        net = network(seed).to(memory_format=torch.channels_last)
        momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return net, kind(net.parameters(), lr=0.01, fused=True, **momentum)

    net, optimizer = learner(0)
    learn(net, optimizer)
    CheckpointManager(run, net, net, optimizer).save_state(TrainState(epoch=1))
    other, again = learner(9)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    CheckpointManager(run, other, other, again).restore_state(state)
    for one, two in ((net, optimizer), (other, again)):
        learn(one, two, steps=3)
    assert all(torch.equal(net.state_dict()[key], other.state_dict()[key]) for key in net.state_dict())


def test_averaged_weights_are_the_ones_kept_as_the_best_and_are_put_back(run: Run) -> None:
    net, averaged = network(), network(seed=5)
    optimizer, position = optimizers(net, "adamw"), TrainState(epoch=1)
    learn(net, optimizer)
    keeper = CheckpointManager(run, net, net, optimizer, ema_module=averaged)
    assert keeper.update_best(position, 0.5, 1.0)
    keeper.save_state(position)
    best, wanted = weights_file.load_tensors(run.best_weights_path)[0], averaged.state_dict()
    assert best.keys() == wanted.keys()
    assert all(torch.equal(best[key], wanted[key]) for key in best)

    other, restored = network(seed=9), network(seed=8)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    CheckpointManager(run, other, other, optimizers(other, "adamw"), ema_module=restored).restore_state(state)
    assert all(torch.equal(restored.state_dict()[key], wanted[key]) for key in wanted)
    assert all(torch.equal(other.state_dict()[key], net.state_dict()[key]) for key in wanted)


def test_the_weights_of_an_epoch_are_kept_whole_and_sealed(run: Run) -> None:
    net = network()
    keeper = CheckpointManager(run, net, net.head, optimizers(net, "adamw"))
    assert keeper.save_epoch(5, 0.75) == ["epoch"]
    tensors, header = weights_file.load_tensors(run.path / "epochs" / "0005.safetensors")
    assert header == {"epoch": 5, "val_accuracy": 0.75, "model": ""}
    assert all(torch.equal(tensors[key], value) for key, value in net.state_dict().items())


def test_a_new_run_has_nothing_to_go_on_from(run: Run) -> None:
    assert checkpoint.load_checkpoint(run) is None


def test_of_a_frozen_network_the_state_holds_the_head_and_the_best_the_whole(run: Run) -> None:
    net = network()
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=0.01)
    keeper = CheckpointManager(run, net, net.head, optimizer)
    position = TrainState(epoch=1)
    learn(net, optimizer)
    assert keeper.update_best(position, 0.5, 1.0)
    aside = {key: value.clone() for key, value in net.state_dict().items()}
    net.eval()
    learn(net, optimizer)
    keeper.save_state(position)

    best, header = weights_file.load_tensors(run.best_weights_path)
    assert header == {"epoch": 1, "val_accuracy": 0.5, "model": ""}
    assert best.keys() == aside.keys()
    assert all(torch.equal(best[key], aside[key]) for key in aside)
    with safe_open(run.last_checkpoint_path, framework="pt") as file:
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
    keeper = CheckpointManager(run, net, net, optimizers(net, "sgd"))
    position = TrainState()
    for epoch, (accuracy, loss) in enumerate(figures):
        position.epoch = epoch
        keeper.update_best(position, accuracy, loss)
    assert position.best_epoch == best
    assert keeper.save_best(position) == ([] if best is None else ["best"])
    assert keeper.save_best(position) == []


def test_the_best_by_loss_is_the_surest_whatever_its_accuracy(run: Run) -> None:
    net = network()
    keeper, position = CheckpointManager(run, net, net, optimizers(net, "sgd")), TrainState()
    better = []
    for accuracy, loss in ((0.5, 1.0), (0.9, 1.1), (0.4, 0.8), (0.6, 0.8)):
        position.epoch += 1
        better.append(keeper.update_best(position, accuracy, loss, "loss"))
    assert better == [True, False, True, False]
    assert (position.best_epoch, position.best_accuracy, position.best_loss) == (3, 0.4, 0.8)


def test_a_state_of_before_the_schedule_with_a_memory_is_read(run: Run) -> None:
    net = network()
    CheckpointManager(run, net, net, optimizers(net, "sgd")).save_state(TrainState(epoch=2))
    tensors, header = weights_file.load_tensors(run.last_checkpoint_path)
    del header["position"]["plateau"]
    weights_file.save_tensors(run.last_checkpoint_path, tensors, header)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    assert state.train_state == TrainState(epoch=2)


def test_saving_takes_a_small_share_of_the_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    keeper = CheckpointManager(run, net, net, optimizers(net, "sgd"))
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def slow(*_: object, **__: object) -> None:
        nonlocal now
        now += 2.0

    monkeypatch.setattr(weights_file, "save_tensors", slow)
    assert keeper.should_save()
    keeper.save_state(TrainState())
    for passed, at_its_end, within in ((0, False, False), (19, False, False), (20, True, False), (60, True, True)):
        now = 102.0 + passed
        assert (keeper.should_save(), keeper.should_save(within_epoch=True)) == (at_its_end, within)


# Two generations


def saved(run: Run, *steps: int) -> CheckpointManager:
    """States of these steps, one after the other."""
    net = network()
    optimizer = optimizers(net, "adamw")
    keeper = CheckpointManager(run, net, net, optimizer)
    for step in steps:
        learn(net, optimizer)
        keeper.save_state(TrainState(epoch=1, step=step))
    return keeper


def spoilt(file: Path, how: str) -> None:
    whole = file.read_bytes()
    if how == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "text":
        file.write_text("nothing of the kind\n" * 10)
    elif how == "a bit":
        file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
    elif how == "bare":
        weights_file.save_tensors(file, {"module.0.weight": torch.zeros(1)}, {})
    elif how == "other fields":
        weights_file.save_tensors(
            file, weights_file.load_tensors(file)[0], {"position": {"epoche": 3}, "optimizer": {}}
        )


HOW = pytest.mark.parametrize("how", ["cut", "empty", "text", "a bit", "bare", "other fields"])


def test_the_one_before_stays(run: Run) -> None:
    saved(run, 4, 8)
    assert [
        weights_file.load_tensors(file)[1]["position"]["step"]
        for file in (run.previous_checkpoint_path, run.last_checkpoint_path)
    ] == [4, 8]
    assert files(run.path / "last") == ["before.safetensors", "state.safetensors"]


@HOW
def test_a_damaged_state_gives_way_to_the_one_before(run: Run, how: str) -> None:
    saved(run, 4, 8)
    spoilt(run.last_checkpoint_path, how)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    assert (state.train_state.step, state.path) == (4, run.previous_checkpoint_path)
    assert state.newer_file_error
    assert "\n" not in state.newer_file_error


@HOW
def test_a_damaged_state_without_one_before_is_named_in_one_line(run: Run, how: str) -> None:
    saved(run, 4)
    spoilt(run.last_checkpoint_path, how)
    with pytest.raises(RunError, match=r"state\.safetensors is damaged") as caught:
        checkpoint.load_checkpoint(run)
    assert caught.value.code == "run.damaged"
    assert "\n" not in str(caught.value)


def test_a_state_that_was_only_moved_aside_is_found(run: Run) -> None:
    saved(run, 4)
    run.last_checkpoint_path.replace(run.previous_checkpoint_path)  # killed between the two moves
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    assert (state.train_state.step, state.newer_file_error) == (4, "")


def test_a_damaged_state_never_takes_the_place_of_the_one_before(run: Run) -> None:
    saved(run, 4, 8)
    good = run.previous_checkpoint_path.read_bytes()
    spoilt(run.last_checkpoint_path, "a bit")
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    net = network(seed=9)
    keeper = CheckpointManager(run, net, net, optimizers(net, "adamw"))
    keeper.restore_state(state)
    keeper.save_state(TrainState(epoch=1, step=8))
    assert run.previous_checkpoint_path.read_bytes() == good
    keeper.save_state(TrainState(epoch=1, step=12))
    assert [
        weights_file.load_tensors(file)[1]["position"]["step"]
        for file in (run.previous_checkpoint_path, run.last_checkpoint_path)
    ] == [8, 12]


def test_a_state_of_another_network_is_named_in_one_line(run: Run) -> None:
    saved(run, 4)
    state = checkpoint.load_checkpoint(run)
    assert state is not None
    net = nn.Sequential(nn.Linear(7, 7))
    with pytest.raises(RunError, match=r"state\.safetensors is damaged") as caught:
        CheckpointManager(run, network(), net, optimizers(net, "adamw")).restore_state(state)
    assert "\n" not in str(caught.value)


# The disk


@pytest.mark.parametrize("what", [full_disk, refusing])
def test_a_full_disk_is_the_persons_to_mend(run: Run, monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    monkeypatch.setattr(weights_file, "save_file", what)
    with pytest.raises(RunError, match="No space left on device") as caught:
        saved(run, 4)
    assert caught.value.code == "run.write"
    assert files(run.path) == ["config.json"]


@pytest.mark.parametrize(
    ("frozen", "there", "needed"),
    [
        # 1,000,000 weights of four bytes: the best, and three states of three times that.
        (False, 0, 40),
        # A head of 20,000: the best twice, two states.
        (True, 0, 8),
        (False, 12, 28),
    ],
)
def test_room_for_all_that_will_be_written_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, frozen: bool, there: int, needed: int
) -> None:
    net = Network(nn.Linear(980, 1000, bias=False), nn.Linear(20, 1000, bias=False))
    keeper = CheckpointManager(run, net, net.head if frozen else net, optimizers(net, "adamw"))
    if there:
        run.last_checkpoint_path.write_bytes(bytes(there * 1_000_000))
    limit = needed * 1_000_000 + 16_000_000 + (480_000 if frozen else 0)
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: limit - 160_000)
    with pytest.raises(RunError) as caught:
        keeper.check_disk_space()
    assert caught.value.code == "run.space"
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: limit)
    keeper.check_disk_space()
    with pytest.raises(RunError):
        keeper.check_disk_space(saved_epochs=1)
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: limit + 3 * 4_100_000)
    keeper.check_disk_space(saved_epochs=3)


def test_the_header_is_readable_json_for_anyone(run: Run) -> None:
    net = network()
    CheckpointManager(run, net, net, optimizers(net, "sgd")).save_state(TrainState(epoch=2, step=5))
    with safe_open(run.last_checkpoint_path, framework="pt") as file:
        assert json.loads(file.metadata()["ftlab"])["position"]["step"] == 5
