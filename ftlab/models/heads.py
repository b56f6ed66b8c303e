"""The new classifier on a backbone: its layers, and how they start."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class HeadSpec:
    """What a head is made of; it stands in a run's `model.json`, for whoever builds the network again.

    Attributes:
        kind: `softmax`, a logit a class; `logit`, one logit for two classes.
        hidden: width of a layer between, 0 for none.
        dropout: share of what the last layer reads that is dropped while training.
        init: `small`, `default` or `xavier`.
    """

    kind: str = "softmax"
    hidden: int = 0
    dropout: float = 0.0
    init: str = "small"

    @classmethod
    def from_config(cls, config: TrainConfig) -> HeadSpec:
        """The plan of a configuration."""
        return cls(config.head_kind, config.head_hidden, config.dropout, config.head_init)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HeadSpec:
        """From what `to_json` gave; what is missing is plain."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


class LogitPair(nn.Module):
    """One logit z for two classes, as the pair (-z/2, z/2).

    The softmax of the pair is the sigmoid of z and its cross-entropy the binary one, to the gradient; so all that reads
    logits by class (metrics, the top classes, Grad-CAM for either class) works as with any head.

    Shapes: float [B, 1] -> [B, 2].
    """

    def forward(self, logit: Tensor) -> Tensor:
        return torch.cat([-logit, logit], dim=1) / 2


def build_head(in_features: int, num_classes: int, head_spec: HeadSpec = HeadSpec()) -> nn.Module:
    """A new head for features of a width: float [B, D] -> logits [B, K].

    A plain linear layer where the plan has nothing else; else dropout and that, or linear, ReLU, dropout and that.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if head_spec.hidden:
        layers["hidden"], layers["relu"] = (
            _make_linear(in_features, head_spec.hidden, head_spec.init, is_last=False),
            nn.ReLU(),
        )
    if head_spec.dropout:
        layers["dropout"] = nn.Dropout(head_spec.dropout)
    out_features = 1 if head_spec.kind == "logit" else num_classes
    layers["classifier"] = _make_linear(head_spec.hidden or in_features, out_features, head_spec.init, is_last=True)
    if head_spec.kind == "logit":
        layers["pair"] = LogitPair()
    return layers["classifier"] if len(layers) == 1 else nn.Sequential(layers)


def _make_linear(in_features: int, out_features: int, init: str, *, is_last: bool) -> nn.Linear:
    """A linear layer. `default` starts as PyTorch has it, `xavier` with its weights drawn after Glorot & Bengio (2010,
    uniform, equation 16). `small` makes a last layer that says "all alike": small weights, and no bias, so that no
    class starts with a lead; a layer between starts as by default, for small it would pass on next to nothing."""
    layer = nn.Linear(in_features, out_features)
    if init == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    elif init == "small" and is_last:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return layer


def find_classifier(head: nn.Module) -> nn.Linear:
    """The last linear layer of a head: weight [K, D], or [1, D] where one logit tells two classes apart."""
    return next(module for module in reversed(list(head.modules())) if isinstance(module, nn.Linear))
