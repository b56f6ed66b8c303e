"""Metrics as sums and counts, divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.training.devices import distributed

_MAX_PENDING_BATCHES = 16
"""Batches whose metrics are computed together, at most."""


@dataclass(frozen=True)
class Metrics:
    """Metrics over a number of images; None where there were none.

    Attributes:
        loss: mean cross-entropy in nats, without label smoothing and class weights.
        top1: accuracy in [0, 1].
        top5: fraction of the images whose class is among the five with the largest logits; 1 with five classes or less.
        image_count: number of images.
    """

    loss: float | None
    top1: float | None
    top5: float | None
    image_count: int


class MetricSums:
    """Sums over images, on the device, so that adding to them does not wait for it.

    Attributes:
        sums: float64 [4]: loss, top-1 hits, top-5 hits and number of images.
    """

    def __init__(self, device: torch.device, sums: Sequence[float] = ()) -> None:
        """Begin with `sums`, those of a checkpoint, or with zeros."""
        self.sums = torch.tensor(sums or [0.0] * 4, dtype=_get_sum_dtype(device), device=device)

    def add_batch(self, logits: Tensor, labels: Tensor, sample_weights: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: [B, K].
            labels: int64 [B].
            sample_weights: float32 [B], 0 for an image that does not count; None if all do.
        """
        sample_weights = torch.ones(len(labels), device=logits.device) if sample_weights is None else sample_weights
        self.add_sums(_sum_batch_metrics(logits, labels, sample_weights))

    def add_sums(self, sums: Tensor) -> None:
        """Add sums of the same four quantities."""
        self.sums += sums

    def reset(self) -> None:
        """Set the sums to zero."""
        self.sums.zero_()

    def compute_metrics(self, accelerator: Accelerator) -> Metrics:
        """Return the metrics over all ranks."""
        loss, top1_hits, top5_hits, image_count = distributed.all_reduce_sum(accelerator, self.sums).tolist()
        if not image_count:
            return Metrics(None, None, None, 0)
        return Metrics(loss / image_count, top1_hits / image_count, top5_hits / image_count, round(image_count))


class BatchedMetricSums:
    """Adds batches to several `MetricSums`, many at a time: each computation takes a dozen small kernels.

    Attributes:
        metric_sums: those that all batches are added to.
    """

    def __init__(self, *metric_sums: MetricSums) -> None:
        """Add the batches to come to each of `metric_sums`."""
        self.metric_sums = metric_sums
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []

    def add_batch(self, logits: Tensor, labels: Tensor, sample_weights: Tensor) -> None:
        """Add a batch, see `MetricSums.add_batch`; the sums contain it after `flush` only.

        Args:
            logits: [B, K].
            labels: int64 [B].
            sample_weights: float32 [B].
        """
        # Logits of a CUDA graph are overwritten by its next replay.
        self._pending.append((logits.clone(), labels, sample_weights))
        # Pending logits take memory, so that their number is limited.
        if len(self._pending) == _MAX_PENDING_BATCHES:
            self.flush()

    def flush(self) -> None:
        """Add all pending batches to the sums."""
        if self._pending:
            sums = _sum_batch_metrics(*map(torch.cat, zip(*self._pending, strict=True)))
            self._pending = []
            for metric_sums in self.metric_sums:
                metric_sums.add_sums(sums)


@torch.no_grad()
def _sum_batch_metrics(logits: Tensor, labels: Tensor, sample_weights: Tensor) -> Tensor:
    """Return the sums of `MetricSums` over a batch, [4].

    In float64 it hardly matters which batches are summed together: a resumed training divides them differently.

    Args:
        logits: [B, K].
        labels: int64 [B].
        sample_weights: float32 [B].
    """
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    rows = torch.stack([losses, hits[:, 0].float(), hits.any(1).float(), torch.ones_like(losses)])
    # Images of weight 0, which fill up a batch, count nowhere.
    return (rows * sample_weights).sum(1, dtype=_get_sum_dtype(logits.device))


def _get_sum_dtype(device: torch.device) -> torch.dtype:
    """Return the most precise floating type of a device."""
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
