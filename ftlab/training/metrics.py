"""Metrics as sums and counts, divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.training.devices import device_setup

_MAX_PENDING_BATCHES = 16
"""Batches that are worked out together, at most."""


@dataclass(frozen=True)
class Metrics:
    """Figures over `image_count` pictures; null where there were none.

    Attributes:
        loss: mean cross-entropy, nats.
        top1, top5: fractions in [0, 1]; with five classes or fewer `top5` is 1.
    """

    loss: float | None
    top1: float | None
    top5: float | None
    image_count: int


class MetricSums:
    """Sums over pictures: loss, first guesses right, true class among five, pictures. One tensor [4] on the device,
    so that adding to it does not wait for the device."""

    def __init__(self, device: torch.device, sums: Sequence[float] = ()) -> None:
        self.sums = torch.tensor(sums or [0.0] * 4, dtype=_get_sum_dtype(device), device=device)

    def add_batch(self, logits: Tensor, labels: Tensor, sample_weights: Tensor | None = None) -> None:
        """Logits [B, K], labels int64 [B], and 0 or 1 for each picture (a repeated one does not count)."""
        sample_weights = torch.ones(len(labels), device=logits.device) if sample_weights is None else sample_weights
        self.add_sums(_sum_batch_metrics(logits, labels, sample_weights))

    def add_sums(self, sums: Tensor) -> None:
        """Sums of the same four."""
        self.sums += sums

    def reset(self) -> None:
        """Begin anew."""
        self.sums.zero_()

    def compute_metrics(self, accelerator: Accelerator) -> Metrics:
        """The figures over all processes."""
        loss, top1_hits, top5_hits, image_count = device_setup.all_reduce_sum(accelerator, self.sums).tolist()
        if not image_count:
            return Metrics(None, None, None, 0)
        return Metrics(loss / image_count, top1_hits / image_count, top5_hits / image_count, round(image_count))


class BatchedMetricSums:
    """Tallies of the same batches, which are worked out several at a time: each time takes a dozen small kernels."""

    def __init__(self, *metric_sums: MetricSums) -> None:
        self.metric_sums = metric_sums
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []

    def add_batch(self, logits: Tensor, labels: Tensor, sample_weights: Tensor) -> None:
        """As `MetricSums.add`; the tallies have it after `flush`."""
        # What recorded passes give is overwritten by those of the next step.
        self._pending.append((logits.clone(), labels, sample_weights))
        if len(self._pending) == _MAX_PENDING_BATCHES:
            self.flush()

    def flush(self) -> None:
        """Let the tallies have all that was added."""
        if self._pending:
            sums = _sum_batch_metrics(*map(torch.cat, zip(*self._pending, strict=True)))
            self._pending = []
            for metric_sums in self.metric_sums:
                metric_sums.add_sums(sums)


@torch.no_grad()
def _sum_batch_metrics(logits: Tensor, labels: Tensor, sample_weights: Tensor) -> Tensor:
    """What a tally sums up, see `MetricSums.add`: [4]. In float64, so that it does not matter which batches came together:
    a resumed training divides them otherwise."""
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    rows = torch.stack([losses, hits[:, 0].float(), hits.any(1).float(), torch.ones_like(losses)])
    return (rows * sample_weights).sum(1, dtype=_get_sum_dtype(logits.device))


def _get_sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
