"""A backbone and a classifier for the person's classes, and what each mode trains of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.backbones import Backbone
from ftlab.config import TrainConfig
from ftlab.models import weights


class Network(nn.Module):
    """`backbone` maps pictures to feature vectors, `head` maps those to logits.

    Shapes: float32 [B, 3, side, side] -> [B, D] -> [B, K].
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(pictures))
        return logits


def build(row: Backbone, classes: int | None, *, pretrained: bool, seed: int = 0) -> Network:
    """The network of a row.

    Args:
        classes: K; None keeps the source's own classifier of 1000 ImageNet classes.
        pretrained: load the row's weights; else random ones.
        seed: of the random weights; the process's own generator is left as it was.

    Raises:
        WeightsError: pretrained weights are neither here nor to be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = weights.load(row) if pretrained else weights.build(row)
        path, _, name = row.head.rpartition(".")
        parent = module.get_submodule(path)
        head = parent.get_submodule(name)
        assert isinstance(head, nn.Linear)
        setattr(parent, name, nn.Identity())
        if classes is not None:
            head = nn.Linear(head.in_features, classes)
            # Small and without bias: the untrained network says "all alike", and no class starts with a lead.
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
    return Network(module, head)


def freeze(network: Network, mode: str) -> None:
    """Mark what the mode trains: in frozen mode the head alone."""
    network.backbone.requires_grad_(mode != "frozen")
    network.head.requires_grad_(True)


def train_flags(network: nn.Module, mode: str) -> None:
    """Training behaviour for what learns. A frozen backbone stays in evaluation: its BatchNorm statistics do not
    move, its dropout is off."""
    network.train()
    if mode == "frozen" and isinstance(network, Network):
        network.backbone.eval()


def groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameter groups for the optimizer, with the peak `lr` of each.

    In full mode the new head learns `head_multiplier` times faster than the pretrained backbone. Biases and
    normalisation weights are not decayed: they have one dimension, and shrinking them is no regularisation.
    """
    rate, decay = config.learning_rate or 0.0, config.weight_decay or 0.0
    made: list[dict[str, Any]] = []
    for part, factor in _parts(network, config):
        learning = [p for p in part.parameters() if p.requires_grad]
        for params, share in (([p for p in learning if p.ndim > 1], decay), ([p for p in learning if p.ndim < 2], 0.0)):
            if params:
                made.append({"params": params, "lr": rate * factor, "peak": rate * factor, "weight_decay": share})
    return made


def _parts(network: nn.Module, config: TrainConfig) -> Iterator[tuple[nn.Module, float]]:
    if not isinstance(network, Network):
        yield network, 1.0
        return
    yield network.backbone, 1.0
    yield network.head, config.head_multiplier if config.mode == "full" else 1.0
