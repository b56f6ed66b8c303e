"""Optimizers by name."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from ftlab.config import TrainConfig


def make(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    """The configuration's optimizer over parameter groups as `network.groups` makes them.

    AdamW: Loshchilov & Hutter, 2019, arXiv:1711.05101. SGD with Nesterov's momentum: Sutskever et al., 2013.
    """
    if config.optimizer == "sgd":
        return SGD(groups, momentum=config.momentum, nesterov=config.momentum > 0)
    return AdamW(groups)
