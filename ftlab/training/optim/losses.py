"""The loss of each picture, which the engine adds up over a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config.train_config import TrainConfig


class Criterion:
    """Cross-entropy as the configuration wants it, in nats."""

    def __init__(self, config: TrainConfig, labels: Tensor, class_count: int) -> None:
        """`labels`, int64 [N], are those of the training pictures, of K classes."""
        self.label_smoothing, self.sum_reduction = config.label_smoothing, config.loss_reduction == "sum"
        self.class_weights = compute_class_weights(labels, class_count) if config.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits [b, K] of any precision, labels int64 [b] -> losses float32 [b].

        With class weights, each is multiplied by that of its class; unlike torch's weighted mean, the mean over a batch
        divides by its pictures, so that it does not depend on which classes are in it.
        """
        return F.cross_entropy(
            logits.float(), labels, weight=self.class_weights, reduction="none", label_smoothing=self.label_smoothing
        )

    def compute_mixed_loss(self, logits: Tensor, labels: Tensor, partner_labels: Tensor, own_weight: float) -> Tensor:
        """The same for pictures that are `own_weight` of their own class and else of that of others."""
        return own_weight * self(logits, labels) + (1.0 - own_weight) * self(logits, partner_labels)

    def get_loss_scale(self, image_count: int, world_size: int) -> float:
        """What the sum of this process's losses is multiplied by, so that gradients, which are averaged over
        processes, become those of the mean over `image_count` pictures of all processes, or of their sum."""
        return world_size * (1.0 if self.sum_reduction else 1.0 / image_count)


def compute_class_weights(labels: Tensor, class_count: int) -> Tensor:
    """Weights of K classes, float32 [K], with which all count alike: N / (K n) for one of n pictures in N (King & Zeng,
    2001; scikit-learn's "balanced"). Their mean over the pictures is 1."""
    counts = labels.bincount(minlength=class_count).float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
