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

from ftlab.config.train_config import TrainConfig
from ftlab.models.network import Network
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.feeds.base import RankBatch
from ftlab.training.optim import mixup
from tests.support.single_steps import batch, learner_of, tiny


@pytest.fixture(scope="module")
def alone() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stepped(net: Network, share: RankBatch, accelerator: Accelerator, **settings: Any) -> Tensor:
    """Take a step; the loss that it followed."""
    learner = learner_of(net, accelerator, **settings)
    _, loss = learner.forward_backward(share, 0)
    learner.step(0)
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
    learner = learner_of(parted, alone, TrainState(portion=2), loss_reduction="sum")
    learner.forward_backward(batch(), 0)
    learner.step(0)
    assert same(whole, parted)


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_is_nesterovs_or_plain(alone: Accelerator, *, nesterov: bool) -> None:
    net, share = tiny(), batch()
    plain = copy.deepcopy(net)
    learner = learner_of(net, alone, momentum=0.9, nesterov=nesterov)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov)
    for step in range(3):
        learner.forward_backward(share, step)
        learner.step(step)
        optimizer.zero_grad()
        F.cross_entropy(plain(share.inputs), share.labels).backward()
        optimizer.step()
    assert same(net, plain)


def test_several_batches_a_step_are_one_batch_of_their_size_in_the_memory_of_one(
    alone: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parted, seen = tiny(), tiny(), list[int]()
    stepped(whole, batch(6), alone)
    forward = Network.forward

    def counted(net: Network, pictures: Tensor) -> Any:
        seen.append(len(pictures))
        return forward(net, pictures)

    monkeypatch.setattr(Network, "forward", counted)
    stepped(parted, batch(6), alone, batch_size=2, grad_accum_steps=3)
    assert seen == [2, 2, 2]
    assert same(whole, parted)


def test_long_gradients_are_shortened_and_short_ones_are_not(alone: Accelerator) -> None:
    def moved(clip: float) -> float:
        net = tiny()
        before = [p.detach().clone() for p in net.parameters()]
        stepped(net, batch(), alone, grad_clip_norm=clip, learning_rate=0.1)
        return float(
            torch.cat([(p.detach() - b).flatten() for p, b in zip(net.parameters(), before, strict=True)]).norm()
        )

    free = moved(0.0)
    assert moved(1000.0) == pytest.approx(free, rel=1e-6)
    assert moved(free / 0.1 / 4) == pytest.approx(free / 4, rel=1e-4)


def test_class_weights_make_all_classes_count_alike(alone: Accelerator) -> None:
    net, share = tiny(), batch()
    plain = copy.deepcopy(net)
    loss = stepped(net, share, alone, class_weights="balanced")
    weights = torch.tensor([6 / 9, 1.0, 2.0])  # N / (K n) for 3, 2, 1 of 6 pictures
    expected = (F.cross_entropy(plain(share.inputs), share.labels, reduction="none") * weights[share.labels]).mean()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_of_mixed_pictures_both_labels_count_by_their_share(alone: Accelerator) -> None:
    net, share = tiny(), batch()
    plain = copy.deepcopy(net)
    loss = stepped(net, share, alone, mixup=0.4)
    mixture = mixup.mix_batch(share.inputs, TrainConfig(mixup=0.4), 0)
    assert mixture.partner_indices is not None
    logits = plain(mixture.inputs)
    both = [F.cross_entropy(logits, labels) for labels in (share.labels, share.labels[mixture.partner_indices])]
    expected = mixture.own_weight * both[0] + (1 - mixture.own_weight) * both[1]
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
