"""Optimizers by name."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from ftlab.config import TrainConfig
from ftlab.training.rmsprop import RMSprop


def make(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    """The configuration's optimizer over parameter groups as `network.groups` makes them.

    AdamW: Loshchilov & Hutter, 2019, arXiv:1711.05101. Adam, whose decay is part of the gradient: Kingma & Ba, 2015,
    arXiv:1412.6980. SGD with Nesterov's momentum: Sutskever et al., 2013. RMSprop: as Keras has it.
    """
    if config.optimizer == "sgd":
        return SGD(groups, momentum=config.momentum, nesterov=config.nesterov == "yes" and config.momentum > 0)
    if config.optimizer == "rmsprop":
        return RMSprop(groups)
    return Adam(groups) if config.optimizer == "adam" else AdamW(groups)
