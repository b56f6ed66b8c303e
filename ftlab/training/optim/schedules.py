"""The learning rate as a function of the step alone: nothing to save, nothing to restore.

But for the schedule that looks at how well it goes: what that one remembers is in `plateau.py`, and comes on top.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer

from ftlab.config.train_config import TrainConfig

_RISE = 0.3
"""Share of the steps in which one-cycle rises."""
_START, _END = 1 / 25, 1 / 25 / 1e4
"""One-cycle's first and last share of the peak, as torch's `OneCycleLR` has them."""


def factor(config: TrainConfig, step: int, steps: int, per_epoch: int = 1) -> float:
    """Share of the peak rate at optimizer step `step` (0-based) of `steps`, in [0, 1].

    A linear warm-up over the first `config.warmup` of the steps; then

    - `cosine`: to zero (Loshchilov & Hutter, 2017, arXiv:1608.03983, equation 5, without restarts);
    - `step`: times `step_factor` after every `step_epochs` epochs, or, where that is 0, after each third of what
      follows the warm-up;
    - `exponential`: the same fall, smoothly;
    - `constant`, and `plateau`, whose cuts depend on more than the step.

    `onecycle` has its own warm-up: it rises from a 25th along a cosine over the first 30 % of the steps, then falls
    along a cosine to nearly nothing (Smith & Topin, 2018, arXiv:1708.07120; shape and figures as torch's `OneCycleLR`).

    Args:
        per_epoch: optimizer steps of an epoch.
    """
    if config.schedule == "onecycle":
        return _one_cycle(step, steps)
    warm = math.floor(config.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    if config.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if config.schedule in ("step", "exponential"):
        falls = step / (config.step_epochs * per_epoch) if config.step_epochs else min(3 * done, 2.999)
        return config.step_factor ** (int(falls) if config.schedule == "step" else falls)
    return 1.0


def _one_cycle(step: int, steps: int) -> float:
    top = _RISE * steps - 1
    if step <= top:
        return _between(_START, 1.0, step / top if top > 0 else 1.0)
    return _between(1.0, _END, (step - top) / max(1e-9, steps - 1 - top))


def _between(start: float, end: float, done: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * done))


def set_rates(optimizer: Optimizer, share: float) -> float:
    """Give each group its peak rate times `share`; the largest rate given."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return max(float(group["lr"]) for group in optimizer.param_groups)
