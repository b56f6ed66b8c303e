"""Exponential moving average of the trainable weights, which varies less than the weights of single steps."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn

from ftlab.models.activations.split_backbone import BackboneSplit
from ftlab.models.network import Network


class ModelEma:
    """Exponential moving average of the trainable module's weights and buffers.

    Attributes:
        trainable: copy of the trainable module with the averaged weights.
        eval_module: module to evaluate with them: that copy, a network around it, or the copy's upper part.
    """

    def __init__(
        self,
        decay: float,
        net: Network,
        trainable: nn.Module,
        forward_module: nn.Module,
        split: BackboneSplit | None = None,
    ) -> None:
        """Copy the trainable module.

        Args:
            decay: upper bound of the decay, in (0, 1).
            net: the network; its backbone is shared where only the head is averaged.
            trainable: the network, or its head.
            forward_module: the module that batches go through: the network, or its head for cached features.
            split: boundary below which the activations are cached; None where they are not.
        """
        self.decay = decay
        self.trainable = copy.deepcopy(trainable).requires_grad_(False)
        if split:
            self.eval_module = split.bind_upper(cast(Network, self.trainable))
        elif forward_module is trainable:
            self.eval_module = self.trainable
        else:
            self.eval_module = Network(net.backbone, self.trainable, net.auxiliary)

    @torch.no_grad()
    def update_average(self, trainable: nn.Module, step: int) -> None:
        """Update the average with the weights after a step.

        The average moves by 1 - d, where d is min(decay, (1 + step) / (10 + step)), so that the untrained network is
        forgotten in a short training too (as TensorFlow's `ExponentialMovingAverage` with `num_updates`).

        Args:
            trainable: the module with the current weights.
            step: number of the step in the run, from 0.
        """
        step_weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        for averaged, current in zip(
            self.trainable.state_dict().values(), trainable.state_dict().values(), strict=True
        ):
            if averaged.is_floating_point():
                # In this form the average of weights that do not change keeps every bit.
                averaged.lerp_(current, step_weight)
            else:
                averaged.copy_(current)  # BatchNorm counts its batches in an integer
