"""Optimizers by name."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from ftlab.config.train_config import TrainConfig
from ftlab.training.optim.keras_rmsprop import KerasRMSprop

_FUSED_DEVICE_TYPES = ("cpu", "cuda")
"""Devices on which one kernel for all of a step was found to be right and faster: on two cores 2 to 6 times."""


def resolve_fused(config: TrainConfig, device: torch.device) -> str:
    """Whether the steps are to be computed by one kernel for each group of parameters, where torch has it: `yes` or
    `no`. What is learnt differs in the last bits."""
    if config.fused != "auto":
        return config.fused
    return "yes" if device.type in _FUSED_DEVICE_TYPES else "no"


def build_optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    """The configuration's optimizer over parameter groups as `network.groups` makes them.

    AdamW: Loshchilov & Hutter, 2019, arXiv:1711.05101. Adam, whose decay is part of the gradient: Kingma & Ba, 2015,
    arXiv:1412.6980. SGD with Nesterov's momentum: Sutskever et al., 2013. RMSprop: as Keras has it, never fused.
    """
    use_fused = True if config.fused == "yes" else None
    if config.optimizer == "sgd":
        nesterov = config.nesterov == "yes" and config.momentum > 0
        return SGD(groups, momentum=config.momentum, nesterov=nesterov, fused=use_fused)
    if config.optimizer == "rmsprop":
        return KerasRMSprop(groups)
    return Adam(groups, fused=use_fused) if config.optimizer == "adam" else AdamW(groups, fused=use_fused)
