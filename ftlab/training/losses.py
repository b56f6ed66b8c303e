"""The loss of each picture, which the engine adds up over a step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ftlab.config import TrainConfig


class Criterion:
    """Cross-entropy as the configuration wants it, in nats."""

    def __init__(self, config: TrainConfig) -> None:
        self.smoothing, self.summed = config.label_smoothing, config.loss_reduction == "sum"

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits [b, K] of any precision, labels int64 [b] -> losses float32 [b]."""
        return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=self.smoothing)

    def scale(self, count: int, processes: int) -> float:
        """What the sum of this process's losses is multiplied by, so that gradients, which are averaged over
        processes, become those of the mean over `count` pictures of all processes, or of their sum."""
        return processes * (1.0 if self.summed else 1.0 / count)
