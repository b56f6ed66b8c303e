"""The learning rate as a function of the step alone: nothing to save, nothing to restore.

But for the schedule that looks at how well it goes: what that one remembers is in `plateau.py`, and comes on top.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer

from ftlab.config.train_config import TrainConfig

_ONE_CYCLE_RISE_FRACTION = 0.3
"""Share of the steps in which one-cycle rises."""
_ONE_CYCLE_START_FACTOR, _ONE_CYCLE_END_FACTOR = 1 / 25, 1 / 25 / 1e4
"""One-cycle's first and last share of the peak, as torch's `OneCycleLR` has them."""


def compute_lr_factor(config: TrainConfig, step: int, total_steps: int, steps_per_epoch: int = 1) -> float:
    """Share of the peak rate at optimizer step `step` (0-based) of `total_steps`, in [0, 1].

    A linear warm-up over the first `config.warmup` of the steps; then

    - `cosine`: to zero (Loshchilov & Hutter, 2017, arXiv:1608.03983, equation 5, without restarts);
    - `step`: times `step_factor` after every `step_epochs` epochs, or, where that is 0, after each third of what
      follows the warm-up;
    - `exponential`: the same fall, smoothly;
    - `constant`, and `plateau`, whose cuts depend on more than the step.

    `onecycle` has its own warm-up: it rises from a 25th along a cosine over the first 30 % of the steps, then falls
    along a cosine to nearly nothing (Smith & Topin, 2018, arXiv:1708.07120; shape and figures as torch's `OneCycleLR`).

    Args:
        steps_per_epoch: optimizer steps of an epoch.
    """
    if config.schedule == "onecycle":
        return _compute_one_cycle(step, total_steps)
    warmup_steps = math.floor(config.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if config.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if config.schedule in ("step", "exponential"):
        decay_count = step / (config.step_epochs * steps_per_epoch) if config.step_epochs else min(3 * progress, 2.999)
        return config.step_factor ** (int(decay_count) if config.schedule == "step" else decay_count)
    return 1.0


def _compute_one_cycle(step: int, total_steps: int) -> float:
    peak_step = _ONE_CYCLE_RISE_FRACTION * total_steps - 1
    if step <= peak_step:
        return _interpolate_cosine(_ONE_CYCLE_START_FACTOR, 1.0, step / peak_step if peak_step > 0 else 1.0)
    return _interpolate_cosine(1.0, _ONE_CYCLE_END_FACTOR, (step - peak_step) / max(1e-9, total_steps - 1 - peak_step))


def _interpolate_cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rates(optimizer: Optimizer, lr_factor: float) -> float:
    """Give each group its peak rate times `lr_factor`; the largest rate given."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * lr_factor
    return max(float(group["lr"]) for group in optimizer.param_groups)
