"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from ftlab.config import TrainConfig
from ftlab.training import schedules


def curve(steps: int, **knobs: Any) -> list[float]:
    config = TrainConfig(**knobs)
    return [schedules.factor(config, step, steps) for step in range(steps)]


def test_cosine_falls_from_one_towards_zero_as_published() -> None:
    shares = curve(100, schedule="cosine", warmup=0.0)
    assert shares == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(100)])
    assert shares[0] == 1
    assert shares[50] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.001


def test_step_divides_by_ten_after_each_third() -> None:
    assert curve(9, schedule="step", warmup=0.0) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_constant_stays() -> None:
    assert curve(5, schedule="constant", warmup=0.0) == [1] * 5


@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
def test_the_warm_up_rises_in_even_steps_to_the_peak(schedule: str) -> None:
    shares = curve(40, schedule=schedule, warmup=0.1)
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(shares) == 1


@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_it_is_a_share_of_the_peak_and_no_step_is_wasted(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < share <= 1 for share in curve(steps, schedule=schedule, warmup=warmup))


def test_each_group_keeps_its_own_peak() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": peak, "peak": peak} for peak in (0.1, 1.0)]
    optimizer = torch.optim.SGD(groups)
    assert schedules.set_rates(optimizer, 0.5) == 0.5
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]
    schedules.set_rates(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
