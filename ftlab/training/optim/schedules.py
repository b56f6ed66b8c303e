"""Learning rate schedules: functions of the step alone, without a state to save and restore.

The factor of the plateau schedule, which has a state, comes on top; see `plateau.py`.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer

from ftlab.config.train_config import TrainConfig

_ONE_CYCLE_RISE_FRACTION = 0.3
"""Fraction of the steps in which one-cycle rises."""
_ONE_CYCLE_START_FACTOR, _ONE_CYCLE_END_FACTOR = 1 / 25, 1 / 25 / 1e4
"""One-cycle's first and last fraction of the peak, as the defaults of PyTorch's `OneCycleLR`."""


def compute_lr_factor(config: TrainConfig, step: int, total_steps: int, steps_per_epoch: int = 1) -> float:
    """Compute the learning rate of a step as a fraction of the peak learning rate.

    The rate rises linearly over the first `config.warmup_fraction` of the steps; then

    - `cosine` falls to zero (Loshchilov & Hutter, 2017, arXiv:1608.03983, equation 5, without restarts);
    - `step` multiplies by `lr_gamma` after every `lr_step_epochs` epochs or, if that is 0, after each third of the
      steps that follow the warm-up;
    - `exponential` falls as far, smoothly;
    - `constant` stays, and so does `plateau`, whose reductions depend on more than the step.

    `onecycle` has its own warm-up: it rises from a 25th along a cosine over the first 30 % of the steps, then falls
    along a cosine to nearly nothing (Smith & Topin, 2018, arXiv:1708.07120; shape and numbers of PyTorch's
    `OneCycleLR`).

    Args:
        config: the configuration of a phase.
        step: number of the step in the phase, from 0.
        total_steps: optimizer steps of the phase.
        steps_per_epoch: optimizer steps of an epoch.

    Returns:
        Fraction in [0, 1].
    """
    if config.schedule == "onecycle":
        return _compute_one_cycle(step, total_steps)
    warmup_steps = math.floor(config.warmup_fraction * total_steps)
    if step < warmup_steps:
        # Never 0: the first step trains already, and the last one of the warm-up is below the peak.
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if config.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if config.schedule in ("step", "exponential"):
        # Below 3: the last step must not be the only one of a fourth part.
        decay_count = (
            step / (config.lr_step_epochs * steps_per_epoch) if config.lr_step_epochs else min(3 * progress, 2.999)
        )
        return config.lr_gamma ** (int(decay_count) if config.schedule == "step" else decay_count)
    return 1.0


def _compute_one_cycle(step: int, total_steps: int) -> float:
    """Return the fraction of the peak at a step (0-based) of the one-cycle schedule."""
    # As in PyTorch's `OneCycleLR`, the last step of the rise is at the peak.
    peak_step = _ONE_CYCLE_RISE_FRACTION * total_steps - 1
    if step <= peak_step:
        return _interpolate_cosine(_ONE_CYCLE_START_FACTOR, 1.0, step / peak_step if peak_step > 0 else 1.0)
    return _interpolate_cosine(1.0, _ONE_CYCLE_END_FACTOR, (step - peak_step) / max(1e-9, total_steps - 1 - peak_step))


def _interpolate_cosine(start: float, end: float, progress: float) -> float:
    """Interpolate along half a cosine.

    Args:
        start: value at progress 0.
        end: value at progress 1.
        progress: in [0, 1].

    Returns:
        The value between them.
    """
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rates(optimizer: Optimizer, lr_factor: float) -> float:
    """Set the learning rate of each parameter group to its peak rate times a factor.

    Args:
        optimizer: its groups have their peak rate under `peak`.
        lr_factor: fraction of the peak rate.

    Returns:
        The largest of the rates.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * lr_factor
    return max(float(group["lr"]) for group in optimizer.param_groups)
