"""The new classifier of a backbone: its layers, and their initialization."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.config.train_config import TrainConfig
from ftlab.core import json_fields


@dataclass(frozen=True)
class HeadSpec:
    """Specification of a head, stored in a run's `model.json` so that the network can be rebuilt.

    Attributes:
        kind: `softmax`, one logit a class; `logit`, one logit for two classes.
        hidden: width of a hidden layer, 0 for none.
        dropout: dropout probability of the last layer's input.
        init: `small`, `default` or `xavier`.
    """

    kind: str = "softmax"
    hidden: int = 0
    dropout: float = 0.0
    init: str = "small"

    @classmethod
    def from_config(cls, config: TrainConfig) -> HeadSpec:
        """Return the spec that a configuration asks for."""
        return cls(config.head_kind, config.head_hidden, config.dropout, config.head_init)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HeadSpec:
        """Return the spec of `to_json`'s values; missing ones are the defaults, a damaged one is a `TypeError`."""
        return json_fields.build_dataclass(cls, values, ignore_unknown=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


class LogitPair(nn.Module):
    """One logit z for two classes, as the pair (-z/2, z/2).

    The softmax of the pair is the sigmoid of z and its cross-entropy the binary one, to the gradient; so everything
    that reads logits by class (metrics, the top classes, Grad-CAM for either class) works as with any head.

    Shapes: float [B, 1] -> [B, 2].
    """

    def forward(self, logit: Tensor) -> Tensor:
        """Return the pair of logits, float [B, 2], of a logit, float [B, 1]."""
        return torch.cat([-logit, logit], dim=1) / 2


def build_head(in_features: int, num_classes: int, head_spec: HeadSpec = HeadSpec()) -> nn.Module:
    """Build a head for the features of a backbone: float [B, D] -> logits [B, K].

    Args:
        in_features: D.
        num_classes: K.
        head_spec: a plain linear layer by default; else dropout and linear, or linear, ReLU, dropout and linear.

    Returns:
        The head.
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
    # Not wrapped if alone: the weights of a plain head are `head.weight` and `head.bias` in every file.
    return layers["classifier"] if len(layers) == 1 else nn.Sequential(layers)


def _make_linear(in_features: int, out_features: int, init: str, *, is_last: bool) -> nn.Linear:
    """Make a linear layer.

    `default` initializes it as PyTorch does, `xavier` draws its weights after Glorot & Bengio (2010, uniform,
    equation 16). `small` makes a last layer that starts with nearly uniform probabilities: small weights, and no
    bias, so that no class has a lead. A hidden layer is then initialized by default, for a small one would pass on
    next to nothing.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        init: `small`, `default` or `xavier`.
        is_last: whether it gives the logits.

    Returns:
        The layer.
    """
    layer = nn.Linear(in_features, out_features)
    if init == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    elif init == "small" and is_last:
        # With logits near zero the first loss is about log K, whatever the features' scale.
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return layer


def find_classifier(head: nn.Module) -> nn.Linear:
    """Return the last linear layer of a head: weight [K, D], or [1, D] for one logit for two classes."""
    # A hidden layer is registered before it.
    return next(module for module in reversed(list(head.modules())) if isinstance(module, nn.Linear))


def simplify_head(head: nn.Module) -> nn.Linear | nn.Sequential:
    """Return a head without dropout, and with one logit per class: a linear layer, or two with a ReLU in between.

    Args:
        head: of `build_head`; left as it is.

    Returns:
        The layers themselves, not copies, but for the layer that replaces a `LogitPair`.
    """
    layers = [layer for layer in head.modules() if isinstance(layer, (nn.Linear, nn.ReLU))]
    if any(isinstance(layer, LogitPair) for layer in head.modules()):
        layers[-1] = _expand_logit(layers[-1])
    if len(layers) > 1:
        return nn.Sequential(*layers)
    assert isinstance(layers[0], nn.Linear)
    return layers[0]


def _expand_logit(layer: nn.Module) -> nn.Linear:
    """Return the linear layer with two logits, -z/2 and z/2, of one with the logit z."""
    assert isinstance(layer, nn.Linear)
    expanded: nn.Linear = nn.utils.skip_init(nn.Linear, layer.in_features, 2)
    pair = LogitPair()
    with torch.no_grad():
        expanded.weight.copy_(pair(layer.weight.T).T)
        expanded.bias.copy_(pair(layer.bias[None])[0])
    return expanded
