"""What a sweep over learning rates found, and how to have one made. No torch.

Smith, 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3: the rate rises from
step to step, and where the loss falls fastest is a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ftlab.config.train_config import TrainConfig, resolve
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query

_LIMIT = 600.0
"""Seconds after which a sweep is given up."""
_REACH = 4
"""Steps on either side over which the losses are smoothed."""
_WINDOW = 3
"""Steps on either side over which the slope is taken."""
_FALL = 0.03
"""Share of the first losses by which they must fall at least, for a suggestion."""


@dataclass(frozen=True)
class Sweep:
    """Learning rates in rising order, and the training loss of the batch at each, in nats. The last one or two may be
    where it broke off: there the loss has grown to several times its least."""

    rates: list[float]
    losses: list[float]

    def smooth(self) -> list[float]:
        """The losses as a moving mean, centred so that it does not come late; of fewer steps at the ends."""
        count = len(self.losses)
        around = [min(_REACH, at, count - 1 - at) for at in range(count)]
        return [float(np.mean(self.losses[at - far : at + far + 1])) for at, far in enumerate(around)]

    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls fastest by the rate's logarithm, to two digits; None where it does
        not fall."""
        losses = np.array(self.smooth())
        if len(losses) < 4 * _WINDOW:
            return None
        lowest = int(losses.argmin())
        if losses[: 2 * _WINDOW].mean() - losses[lowest] < _FALL * losses[: 2 * _WINDOW].mean():
            return None
        where = np.log10(self.rates)
        inside = range(_WINDOW, min(lowest + 1, len(losses) - _WINDOW))
        slopes = [
            (losses[at + _WINDOW] - losses[at - _WINDOW]) / (where[at + _WINDOW] - where[at - _WINDOW]) for at in inside
        ]
        if not slopes or min(slopes) >= 0:
            return None
        return float(f"{self.rates[inside[int(np.argmin(slopes))]]:.2g}")


def find(config: TrainConfig, folder: Path | str, wanted: Callable[[], bool] = lambda: True) -> Sweep | None:
    """Have another process sweep over learning rates for a configuration; up to a few minutes.

    Args:
        config: its rate does not matter.
        folder: of the pictures.
        wanted: asked again and again; once it says no, the sweep is given up.

    Returns:
        The sweep, None if it was given up.

    Raises:
        RunError: it failed; the message has its last line.
    """
    told = subprocess_query.ask("find-rate", replace(resolve(config), data=str(folder), sample=""), wanted, _LIMIT)
    if told is None:
        return None
    try:
        return Sweep(told["rates"], told["losses"])
    except KeyError as cause:
        raise RunError("run.measure", cause=cause) from cause
