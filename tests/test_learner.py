"""One step of what learns: its gradients and what it moves, against plain PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab import backbones
from ftlab.config import TrainConfig
from ftlab.models.network import Network
from ftlab.training.checkpoint import Position
from ftlab.training.feeds import Share
from ftlab.training.learner import Learner

ROW = backbones.get("resnet18")
PLAIN: dict[str, Any] = {
    "mode": "scratch",
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "head_multiplier": 1.0,
    "schedule": "constant",
    "warmup": 0.0,
}
"""Knobs that make a step w - 0.1 g."""


@pytest.fixture(scope="module")
def alone() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(classes: int = 3) -> Network:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(backbone, nn.Linear(4, classes))


def batch(count: int = 6, classes: int = 3) -> Share:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    pictures = torch.randn(count, 3, 8, 8, generator=generator)
    return Share(pictures, labels, torch.ones(count), count, [])


def stepped(net: Network, share: Share, accelerator: Accelerator, **knobs: Any) -> Tensor:
    """Take a step; the loss that it followed."""
    learner = Learner(net, ROW, TrainConfig(**{**PLAIN, **knobs}), accelerator, Position(), 1)
    learner.set_rates(0, Position())
    net.train()
    _, loss = learner.gradients(share, 0)
    learner.step()
    return loss


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_is_plain_pytorchs_with_the_mean_or_the_sum_of_the_batch(alone: Accelerator, reduction: str) -> None:
    net, share = tiny(), batch()
    plain = copy.deepcopy(net)
    loss = stepped(net, share, alone, loss_reduction=reduction)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    losses = nn.CrossEntropyLoss(reduction="none")(plain(share.inputs), share.labels)
    expected = losses.sum() if reduction == "sum" else losses.mean()
    expected.backward()
    optimizer.step()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert same(net, plain)


def test_the_sum_of_a_batch_in_portions_is_that_of_the_whole(alone: Accelerator) -> None:
    whole, parted = tiny(), tiny()
    stepped(whole, batch(), alone, loss_reduction="sum")
    learner = Learner(parted, ROW, TrainConfig(**PLAIN, loss_reduction="sum"), alone, Position(portion=2), 1)
    learner.set_rates(0, Position())
    learner.gradients(batch(), 0)
    learner.step()
    assert same(whole, parted)


@pytest.mark.parametrize("nesterov", ["yes", "no"])
def test_momentum_is_nesterovs_or_plain(alone: Accelerator, nesterov: str) -> None:
    net, share = tiny(), batch()
    plain = copy.deepcopy(net)
    config = TrainConfig(**{**PLAIN, "momentum": 0.9, "nesterov": nesterov})
    learner = Learner(net, ROW, config, alone, Position(), 1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov == "yes")
    for step in range(3):
        learner.set_rates(step, Position())
        learner.gradients(share, step)
        learner.step()
        optimizer.zero_grad()
        F.cross_entropy(plain(share.inputs), share.labels).backward()
        optimizer.step()
    assert same(net, plain)
