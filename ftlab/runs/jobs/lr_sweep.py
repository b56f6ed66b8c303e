"""What a sweep over learning rates found, and how to have one made. No torch.

Smith, 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3: the rate rises from
step to step, and where the loss falls fastest is a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query

_SWEEP_TIMEOUT_SECONDS = 600.0
"""Seconds after which a sweep is given up."""
_SMOOTHING_RADIUS_STEPS = 4
"""Steps on either side over which the losses are smoothed."""
_SLOPE_RADIUS_STEPS = 3
"""Steps on either side over which the slope is taken."""
_MIN_LOSS_DROP_FRACTION = 0.03
"""Share of the first losses by which they must fall at least, for a suggestion."""


@dataclass(frozen=True)
class LrSweep:
    """Learning rates in rising order, and the training loss of the batch at each, in nats. The last one or two may be
    where it broke off: there the loss has grown to several times its least."""

    rates: list[float]
    losses: list[float]

    def smooth_losses(self) -> list[float]:
        """The losses as a moving mean, centred so that it does not come late; of fewer steps at the ends."""
        count = len(self.losses)
        radii = [min(_SMOOTHING_RADIUS_STEPS, index, count - 1 - index) for index in range(count)]
        return [float(np.mean(self.losses[index - radius : index + radius + 1])) for index, radius in enumerate(radii)]

    def suggest_learning_rate(self) -> float | None:
        """The rate at which the smoothed loss falls fastest by the rate's logarithm, to two digits; None where it does
        not fall."""
        losses = np.array(self.smooth_losses())
        if len(losses) < 4 * _SLOPE_RADIUS_STEPS:
            return None
        lowest_index = int(losses.argmin())
        if losses[: 2 * _SLOPE_RADIUS_STEPS].mean() - losses[lowest_index] < _MIN_LOSS_DROP_FRACTION * losses[: 2 * _SLOPE_RADIUS_STEPS].mean():
            return None
        log_rates = np.log10(self.rates)
        candidates = range(_SLOPE_RADIUS_STEPS, min(lowest_index + 1, len(losses) - _SLOPE_RADIUS_STEPS))
        slopes = [
            (losses[index + _SLOPE_RADIUS_STEPS] - losses[index - _SLOPE_RADIUS_STEPS]) / (log_rates[index + _SLOPE_RADIUS_STEPS] - log_rates[index - _SLOPE_RADIUS_STEPS]) for index in candidates
        ]
        if not slopes or min(slopes) >= 0:
            return None
        return float(f"{self.rates[candidates[int(np.argmin(slopes))]]:.2g}")


def run_lr_sweep(config: TrainConfig, folder: Path | str, should_continue: Callable[[], bool] = lambda: True) -> LrSweep | None:
    """Have another process sweep over learning rates for a configuration; up to a few minutes.

    Args:
        config: its rate does not matter.
        folder: of the pictures.
        should_continue: asked again and again; once it says no, the sweep is given up.

    Returns:
        The sweep, None if it was given up.

    Raises:
        RunError: it failed; the message has its last line.
    """
    answer = subprocess_query.run_query("find-rate", replace(fill_defaults(config), data=str(folder), sample=""), should_continue, _SWEEP_TIMEOUT_SECONDS)
    if answer is None:
        return None
    try:
        return LrSweep(answer["rates"], answer["losses"])
    except KeyError as cause:
        raise RunError("run.measure", cause=cause) from cause
