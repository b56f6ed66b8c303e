"""Averaged weights: how far each step moves them, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ftlab.models.network import Network
from ftlab.training.optim.ema import ModelEma


def network(value: float = 0.0) -> Network:
    net = Network(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten()), nn.Linear(2, 2))
    for parameter in net.parameters():
        nn.init.constant_(parameter, value)
    return net


def test_it_moves_by_one_minus_the_decay_and_faster_at_first() -> None:
    net = network()
    average, expected = ModelEma(0.5, net, net, net), 0.0
    for step in range(30):
        for parameter in net.parameters():
            nn.init.constant_(parameter, float(step))
        average.update_average(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert float(average.trainable.state_dict()["head.weight"][0, 0]) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(28.0, abs=0.1)


def test_what_does_not_move_keeps_every_bit() -> None:
    net = network(1 / 3)
    average = ModelEma(0.999, net, net, net)
    for step in range(50):
        average.update_average(net, step)
    assert all(torch.equal(a, b) for a, b in zip(average.trainable.parameters(), net.parameters(), strict=True))


def test_statistics_are_averaged_and_counts_are_copied() -> None:
    net = network()
    average = ModelEma(0.9, net, net, net)
    net.train()(torch.ones(4, 3, 1, 1))
    net.state_dict()["backbone.1.running_mean"].fill_(8.0)
    average.update_average(net, 1000)
    assert average.trainable.state_dict()["backbone.1.running_mean"].tolist() == pytest.approx([0.8, 0.8])
    assert int(average.trainable.state_dict()["backbone.1.num_batches_tracked"]) == 1


def test_it_is_another_modules_copy_and_learns_nothing_itself() -> None:
    net = network()
    average = ModelEma(0.9, net, net.head, net)
    assert average.eval_module is not net
    assert average.eval_module.backbone is net.backbone
    assert average.eval_module.head is average.trainable is not net.head
    assert not any(p.requires_grad for p in average.trainable.parameters())
    assert ModelEma(0.9, net, net.head, net.head).eval_module is not net.head
