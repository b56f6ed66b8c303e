"""Metrics as sums and counts, divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.training import devices


@dataclass(frozen=True)
class Score:
    """Figures over `n` pictures; null where there were none.

    Attributes:
        loss: mean cross-entropy, nats.
        top1, top5: fractions in [0, 1]; with five classes or fewer `top5` is 1.
    """

    loss: float | None
    top1: float | None
    top5: float | None
    n: int


@torch.no_grad()
def counted(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """What `Tally` sums up, of one batch, see `Tally.add`: [4]."""
    weight = torch.ones(len(labels), device=logits.device) if weight is None else weight
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    rows = torch.stack([losses, ranked[:, 0].float(), ranked.any(1).float(), torch.ones_like(losses)])
    return (rows * weight).sum(1)


class Tally:
    """Sums over pictures: loss, first guesses right, true class among five, pictures. One tensor [4] on the device,
    so that adding to it does not wait for the device."""

    def __init__(self, device: torch.device, sums: Sequence[float] = ()) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.sums = torch.tensor(sums or [0.0] * 4, dtype=exact, device=device)

    def add(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> None:
        """Logits [B, K], labels int64 [B], and 0 or 1 for each picture (a repeated one does not count)."""
        self.include(counted(logits, labels, weight))

    def include(self, sums: Tensor) -> None:
        """What `counted` gave."""
        self.sums += sums

    def total(self, accelerator: Accelerator) -> Score:
        """The figures over all processes."""
        loss, first, five, count = devices.total(accelerator, self.sums).tolist()
        if not count:
            return Score(None, None, None, 0)
        return Score(loss / count, first / count, five / count, round(count))
