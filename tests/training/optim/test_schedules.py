"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from ftlab.config.train_config import SCHEDULES, TrainConfig
from ftlab.training.optim import schedules


def curve(steps: int, **settings: Any) -> list[float]:
    config = TrainConfig(**settings)
    return [schedules.compute_lr_factor(config, step, steps) for step in range(steps)]


def test_cosine_falls_from_one_towards_zero_as_published() -> None:
    shares = curve(100, schedule="cosine", warmup_fraction=0.0)
    assert shares == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(100)])
    assert shares[0] == 1
    assert shares[50] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.001


def test_step_divides_by_ten_after_each_third() -> None:
    assert curve(9, schedule="step", warmup_fraction=0.0) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_step_falls_after_so_many_epochs_by_so_much_as_torchs_step_lr() -> None:
    per_epoch, epochs = 3, 9
    config = TrainConfig(schedule="step", warmup_fraction=0.0, lr_step_epochs=4, lr_gamma=0.2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.2)
    for epoch in range(epochs):
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            assert schedules.compute_lr_factor(config, step, epochs * per_epoch, per_epoch) == pytest.approx(
                optimizer.param_groups[0]["lr"]
            )
        optimizer.step()
        torchs.step()


def test_exponential_falls_by_as_much_without_jumps() -> None:
    config = TrainConfig(schedule="exponential", warmup_fraction=0.0, lr_step_epochs=2, lr_gamma=0.25)
    shares = [schedules.compute_lr_factor(config, step, 100, 5) for step in range(30)]
    assert shares == pytest.approx([0.25 ** (step / 10) for step in range(30)])
    whole = curve(90, schedule="exponential", warmup_fraction=0.0)
    assert whole[30] == pytest.approx(0.1)
    assert whole[60] == pytest.approx(0.01)


@pytest.mark.parametrize("steps", [10, 33, 400])
def test_one_cycle_is_torchs(steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=False)
    expected = []
    for step in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            torchs.step()
    assert curve(steps, schedule="onecycle") == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_constant_stays() -> None:
    assert curve(5, schedule="constant", warmup_fraction=0.0) == [1] * 5


@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
def test_the_warm_up_rises_in_even_steps_to_the_peak(schedule: str) -> None:
    shares = curve(40, schedule=schedule, warmup_fraction=0.1)
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(shares) == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_it_is_a_share_of_the_peak_and_no_step_is_wasted(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < share <= 1 for share in curve(steps, schedule=schedule, warmup_fraction=warmup))


def test_each_group_keeps_its_own_peak() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": peak, "peak": peak} for peak in (0.1, 1.0)]
    optimizer = torch.optim.SGD(groups)
    assert schedules.set_learning_rates(optimizer, 0.5) == 0.5
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]
    schedules.set_learning_rates(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
