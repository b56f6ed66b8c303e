"""Metrics as sums and counts, divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.training.devices import device_setup

_WAITING = 16
"""Batches that are worked out together, at most."""


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


class Tally:
    """Sums over pictures: loss, first guesses right, true class among five, pictures. One tensor [4] on the device,
    so that adding to it does not wait for the device."""

    def __init__(self, device: torch.device, sums: Sequence[float] = ()) -> None:
        self.sums = torch.tensor(sums or [0.0] * 4, dtype=_exact(device), device=device)

    def add(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> None:
        """Logits [B, K], labels int64 [B], and 0 or 1 for each picture (a repeated one does not count)."""
        weight = torch.ones(len(labels), device=logits.device) if weight is None else weight
        self.include(_summed(logits, labels, weight))

    def include(self, sums: Tensor) -> None:
        """Sums of the same four."""
        self.sums += sums

    def clear(self) -> None:
        """Begin anew."""
        self.sums.zero_()

    def total(self, accelerator: Accelerator) -> Score:
        """The figures over all processes."""
        loss, first, five, count = device_setup.total(accelerator, self.sums).tolist()
        if not count:
            return Score(None, None, None, 0)
        return Score(loss / count, first / count, five / count, round(count))


class Together:
    """Tallies of the same batches, which are worked out several at a time: each time takes a dozen small kernels."""

    def __init__(self, *tallies: Tally) -> None:
        self.tallies = tallies
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, logits: Tensor, labels: Tensor, weight: Tensor) -> None:
        """As `Tally.add`; the tallies have it after `settle`."""
        # What recorded passes give is overwritten by those of the next step.
        self._waiting.append((logits.clone(), labels, weight))
        if len(self._waiting) == _WAITING:
            self.settle()

    def settle(self) -> None:
        """Let the tallies have all that was added."""
        if self._waiting:
            sums = _summed(*map(torch.cat, zip(*self._waiting, strict=True)))
            self._waiting = []
            for tally in self.tallies:
                tally.include(sums)


@torch.no_grad()
def _summed(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """What a tally sums up, see `Tally.add`: [4]. In float64, so that it does not matter which batches came together:
    a resumed training divides them otherwise."""
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    rows = torch.stack([losses, ranked[:, 0].float(), ranked.any(1).float(), torch.ones_like(losses)])
    return (rows * weight).sum(1, dtype=_exact(logits.device))


def _exact(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
