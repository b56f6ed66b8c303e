"""Weights averaged over the steps: steadier than those of any one step."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ftlab.models.network import Network


class ModelEma:
    """An exponential moving average of what learns, buffers too.

    Attributes:
        trainable: a copy of the module that learns, with the averaged weights.
        eval_module: what answers with them: that copy, or the network around it.
    """

    def __init__(self, decay: float, net: Network, trainable: nn.Module, forward_module: nn.Module) -> None:
        """`forward_module` is the network or its head, whichever batches go through; `trainable` it, or the head within."""
        self.decay = decay
        self.trainable = copy.deepcopy(trainable).requires_grad_(False)
        is_same_module = forward_module is trainable
        self.eval_module = self.trainable if is_same_module else Network(net.backbone, self.trainable, net.auxiliary)

    @torch.no_grad()
    def update_average(self, trainable: nn.Module, step: int) -> None:
        """Take in the weights after step number `step` (0-based) of the run.

        The average moves by 1 - d, where d is min(decay, (1 + step) / (10 + step)), so that the untrained network is
        forgotten in a short training too (as TensorFlow's `ExponentialMovingAverage` with `num_updates`).
        """
        step_weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        for averaged, current in zip(
            self.trainable.state_dict().values(), trainable.state_dict().values(), strict=True
        ):
            if averaged.is_floating_point():
                averaged.lerp_(current, step_weight)  # of what does not move it keeps every bit
            else:
                averaged.copy_(current)
