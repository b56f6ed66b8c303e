"""Creation of the configured optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from ftlab.config.train_config import TrainConfig
from ftlab.training.optim.eager_optimizers import EagerAdam, EagerAdamW, EagerSGD
from ftlab.training.optim.keras_rmsprop import KerasRMSprop

_FUSED_DEVICE_TYPES = ("cpu", "cuda")
"""Devices on which PyTorch's fused optimizers were found to be correct and faster: 2 to 6 times on two cores."""


def resolve_fused(config: TrainConfig, device: torch.device) -> bool:
    """Return whether to use a fused optimizer, with one kernel for all parameters of a group; the last bits differ."""
    if config.fused is not None:
        return config.fused
    return device.type in _FUSED_DEVICE_TYPES


def build_optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    """Create the configured optimizer.

    AdamW: Loshchilov & Hutter, 2019, arXiv:1711.05101. Adam, whose weight decay is part of the gradient: Kingma & Ba,
    2015, arXiv:1412.6980. SGD with Nesterov momentum: Sutskever et al., 2013. RMSprop: that of Keras, never fused.

    Args:
        groups: parameter groups of `network.build_param_groups`.
        config: the configuration of a phase.

    Returns:
        The optimizer.
    """
    # None instead of False lets PyTorch choose its multi-tensor implementation where it has one.
    use_fused = True if config.fused else None
    if config.optimizer == "sgd":
        # PyTorch refuses Nesterov without momentum.
        nesterov = config.nesterov and config.momentum > 0
        # With momentum, torch 2.15's fused SGD fails where a parameter gets its first gradient later than others, and
        # keeps uninitialized memory of a step that the gradient scaler skips (findings/fused_sgd_*.sh).
        if config.momentum > 0 and (config.gradual_unfreezing or config.precision == "fp16"):
            use_fused = None
        return EagerSGD(groups, momentum=config.momentum, nesterov=nesterov, fused=use_fused)
    if config.optimizer == "rmsprop":
        return KerasRMSprop(groups)
    return EagerAdam(groups, fused=use_fused) if config.optimizer == "adam" else EagerAdamW(groups, fused=use_fused)
