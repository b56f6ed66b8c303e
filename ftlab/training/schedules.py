"""The learning rate as a function of the step alone: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from ftlab.config import TrainConfig


def factor(config: TrainConfig, step: int, steps: int) -> float:
    """Share of the peak rate at optimizer step `step` (0-based) of `steps`, in [0, 1].

    A linear warm-up over the first `config.warmup` of the steps; then `cosine` to zero (Loshchilov & Hutter, 2017,
    arXiv:1608.03983, equation 5, without restarts), `step` (a tenth after each third), or `constant`.
    """
    warm = math.floor(config.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    if config.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if config.schedule == "step":
        return 0.1 ** min(2, int(3 * done))
    return 1.0


def set_rates(optimizer: Optimizer, share: float) -> float:
    """Give each group its peak rate times `share`; the largest rate given."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return max(float(group["lr"]) for group in optimizer.param_groups)
