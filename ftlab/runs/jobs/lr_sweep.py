"""Learning rate range test: its result, and running it in a separate process. No torch.

Smith, 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3: the learning rate is
raised from step to step, and a good one is where the loss falls fastest.
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
"""Seconds after which a sweep fails."""
_SMOOTHING_RADIUS_STEPS = 4
"""Steps on either side that the smoothing of the losses averages over."""
_SLOPE_RADIUS_STEPS = 3
"""Steps on either side between which the slope is measured."""
_MIN_LOSS_DROP_FRACTION = 0.03
"""Fraction of the first losses by which they must fall at least; less is taken for noise, and nothing is suggested."""


@dataclass(frozen=True)
class LrSweep:
    """Result of a learning rate range test.

    Attributes:
        rates: learning rates in increasing order.
        losses: training loss of the batch at each rate, in nats. The sweep ends early where the loss has grown to
            several times its minimum, so the last one or two may be that large.
    """

    rates: list[float]
    losses: list[float]

    def smooth_losses(self) -> list[float]:
        """Return the losses as a centred moving mean, which does not lag; over fewer steps at both ends."""
        count = len(self.losses)
        radii = [min(_SMOOTHING_RADIUS_STEPS, index, count - 1 - index) for index in range(count)]
        return [float(np.mean(self.losses[index - radius : index + radius + 1])) for index, radius in enumerate(radii)]

    def suggest_learning_rate(self) -> float | None:
        """Suggest the learning rate at which the smoothed loss falls fastest over the logarithm of the rate.

        Returns:
            The rate, rounded to two digits; None where the loss does not fall.
        """
        losses = np.array(self.smooth_losses())
        if len(losses) < 4 * _SLOPE_RADIUS_STEPS:
            return None
        lowest_index = int(losses.argmin())
        if (
            losses[: 2 * _SLOPE_RADIUS_STEPS].mean() - losses[lowest_index]
            < _MIN_LOSS_DROP_FRACTION * losses[: 2 * _SLOPE_RADIUS_STEPS].mean()
        ):
            return None
        log_rates = np.log10(self.rates)
        # Only rates before the minimum: after it the loss rises or is unstable.
        candidates = range(_SLOPE_RADIUS_STEPS, min(lowest_index + 1, len(losses) - _SLOPE_RADIUS_STEPS))
        slopes = [
            (losses[index + _SLOPE_RADIUS_STEPS] - losses[index - _SLOPE_RADIUS_STEPS])
            / (log_rates[index + _SLOPE_RADIUS_STEPS] - log_rates[index - _SLOPE_RADIUS_STEPS])
            for index in candidates
        ]
        if not slopes or min(slopes) >= 0:
            return None
        return float(f"{self.rates[candidates[int(np.argmin(slopes))]]:.2g}")


def run_lr_sweep(
    config: TrainConfig, folder: Path | str, should_continue: Callable[[], bool] = lambda: True
) -> LrSweep | None:
    """Run a learning rate range test for a configuration in another process; it takes up to a few minutes.

    Args:
        config: the configuration; its learning rate does not matter.
        folder: folder of the images.
        should_continue: polled repeatedly; once it returns False, the sweep is cancelled.

    Returns:
        The sweep; None if it was cancelled.

    Raises:
        RunError: the sweep failed; the message holds the last line of its error output.
    """
    answer = subprocess_query.run_query(
        "find-rate",
        replace(fill_defaults(config), data=str(folder), sample=""),
        should_continue,
        _SWEEP_TIMEOUT_SECONDS,
    )
    if answer is None:
        return None
    try:
        return LrSweep(answer["rates"], answer["losses"])
    except KeyError as cause:
        raise RunError("run.measure", cause=cause) from cause
