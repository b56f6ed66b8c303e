"""Cross-entropy of each image, which the training step sums up."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config.train_config import TrainConfig


class Criterion:
    """Cross-entropy in nats, with label smoothing and class weights as configured."""

    def __init__(self, config: TrainConfig, labels: Tensor, class_count: int) -> None:
        """Compute the class weights.

        Args:
            config: the resolved configuration.
            labels: labels of all training images, int64 [N].
            class_count: number of classes K.
        """
        self.label_smoothing, self.sum_reduction = config.label_smoothing, config.loss_reduction == "sum"
        self.class_weights = compute_class_weights(labels, class_count) if config.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of each image.

        With class weights, each is multiplied by that of its class. Unlike PyTorch's weighted mean, the mean over a
        batch divides by the number of images, so that it does not depend on which classes are in the batch.

        Args:
            logits: [b, K] of any precision; the loss is computed in float32.
            labels: int64 [b].

        Returns:
            float32 [b].
        """
        # In float32: the softmax of half-precision logits loses digits.
        return F.cross_entropy(
            logits.float(), labels, weight=self.class_weights, reduction="none", label_smoothing=self.label_smoothing
        )

    def compute_mixed_loss(self, logits: Tensor, labels: Tensor, partner_labels: Tensor, own_weight: float) -> Tensor:
        """Mixup loss: `own_weight * loss(labels) + (1 - own_weight) * loss(partner_labels)`.

        Args:
            logits: [b, K].
            labels: int64 [b], of the images themselves.
            partner_labels: int64 [b], of the images mixed in.
            own_weight: weight of the images themselves, in [0.5, 1].

        Returns:
            float32 [b].
        """
        return own_weight * self(logits, labels) + (1.0 - own_weight) * self(logits, partner_labels)

    def get_loss_scale(self, image_count: int, world_size: int) -> float:
        """Return the factor of the sum of this rank's losses.

        Gradients are averaged over ranks; with the factor they are those of the mean, or sum, over all images.

        Args:
            image_count: images of the step over all ranks.
            world_size: number of ranks.
        """
        # DistributedDataParallel divides by the number of ranks; the factor undoes it.
        return world_size * (1.0 if self.sum_reduction else 1.0 / image_count)


def compute_class_weights(labels: Tensor, class_count: int) -> Tensor:
    """Compute class weights with which all classes count alike, whatever their number of images.

    A class with n of N images has weight N / (K n) (King & Zeng, 2001; scikit-learn's "balanced"), where K counts the
    classes that have images. The mean weight over the images is 1.

    Args:
        labels: int64 [N].
        class_count: number of classes.

    Returns:
        float32, one for each class; 0 for a class without images.
    """
    counts = labels.bincount(minlength=class_count).float()
    # A subsampled split may lack a class, whose weight would be infinite.
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
