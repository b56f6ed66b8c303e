"""A tiny network, a batch and what takes one optimizer step with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.models.network import Network
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.feeds.base import RankBatch
from ftlab.training.train_step import TrainStep

SPEC = backbones.get_backbone_spec("resnet18")
PLAIN: dict[str, Any] = {
    "mode": "scratch",
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "head_lr_multiplier": 1.0,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
"""Settings that make a step w - 0.1 g."""


def tiny(classes: int = 3) -> Network:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(backbone, nn.Linear(4, classes))


def batch(count: int = 6, classes: int = 3) -> RankBatch:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    pictures = torch.randn(count, 3, 8, 8, generator=generator)
    return RankBatch(pictures, labels, torch.ones(count), count, [])


def learner_of(
    net: Network, accelerator: Accelerator, position: TrainState | None = None, **settings: Any
) -> TrainStep:
    """What takes steps with a network, on three pictures of class 0, two of 1, one of 2."""
    feed: Any = SimpleNamespace(steps_per_epoch=1, class_count=3, labels={"train": torch.tensor([0, 0, 0, 1, 1, 2])})
    made = TrainStep(net, SPEC, TrainConfig(**{**PLAIN, **settings}), accelerator, position or TrainState(), feed)
    made.set_learning_rates(0, TrainState())
    net.train()
    return made
