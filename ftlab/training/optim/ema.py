"""Weights averaged over the steps: steadier than those of any one step."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ftlab.models.network import Network


class Average:
    """An exponential moving average of what learns, buffers too.

    Attributes:
        learning: a copy of the module that learns, with the averaged weights.
        judged: what answers with them: that copy, or the network around it.
    """

    def __init__(self, decay: float, net: Network, learning: nn.Module, answering: nn.Module) -> None:
        """`answering` is the network or its head, whichever batches go through; `learning` it, or the head within."""
        self.decay = decay
        self.learning = copy.deepcopy(learning).requires_grad_(False)
        whole = answering is learning
        self.judged = self.learning if whole else Network(net.backbone, self.learning, net.auxiliary)

    @torch.no_grad()
    def update(self, learning: nn.Module, step: int) -> None:
        """Take in the weights after step number `step` (0-based) of the run.

        The average moves by 1 - d, where d is min(decay, (1 + step) / (10 + step)), so that the untrained network is
        forgotten in a short training too (as TensorFlow's `ExponentialMovingAverage` with `num_updates`).
        """
        share = 1.0 - min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.learning.state_dict().values(), learning.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, share)  # of what does not move it keeps every bit
            else:
                mine.copy_(theirs)
