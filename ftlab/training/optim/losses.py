"""The loss of each picture, which the engine adds up over a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config.train_config import TrainConfig


class Criterion:
    """Cross-entropy as the configuration wants it, in nats."""

    def __init__(self, config: TrainConfig, labels: Tensor, classes: int) -> None:
        """`labels`, int64 [N], are those of the training pictures, of K classes."""
        self.smoothing, self.summed = config.label_smoothing, config.loss_reduction == "sum"
        self.weights = balance(labels, classes) if config.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits [b, K] of any precision, labels int64 [b] -> losses float32 [b].

        With class weights, each is multiplied by that of its class; unlike torch's weighted mean, the mean over a batch
        divides by its pictures, so that it does not depend on which classes are in it.
        """
        return F.cross_entropy(
            logits.float(), labels, weight=self.weights, reduction="none", label_smoothing=self.smoothing
        )

    def mixed(self, logits: Tensor, labels: Tensor, others: Tensor, kept: float) -> Tensor:
        """The same for pictures that are `kept` of their own class and else of that of others."""
        return kept * self(logits, labels) + (1.0 - kept) * self(logits, others)

    def scale(self, count: int, processes: int) -> float:
        """What the sum of this process's losses is multiplied by, so that gradients, which are averaged over
        processes, become those of the mean over `count` pictures of all processes, or of their sum."""
        return processes * (1.0 if self.summed else 1.0 / count)


def balance(labels: Tensor, classes: int) -> Tensor:
    """Weights of K classes, float32 [K], with which all count alike: N / (K n) for one of n pictures in N (King & Zeng,
    2001; scikit-learn's "balanced"). Their mean over the pictures is 1."""
    counts = labels.bincount(minlength=classes).float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
