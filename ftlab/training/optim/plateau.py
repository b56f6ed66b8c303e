"""The schedule that looks at how well it goes: the rate is cut when validation does not get better.

It is the one schedule with a memory, so that goes into the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftlab.config.train_config import TrainConfig


@dataclass
class PlateauState:
    """What the schedule remembers.

    Attributes:
        share: of the rate that is left, in (0, 1].
        best, before: validation's best figure, and the one of the epoch before; larger is better.
        bad: epochs in a row that were not good.
        cuts: made so far.
    """

    share: float = 1.0
    best: float | None = None
    before: float | None = None
    bad: int = 0
    cuts: int = 0

    def record_validation(self, config: TrainConfig, accuracy: float | None, loss: float | None) -> bool:
        """Take in an epoch's validation; whether the last allowed cut was made now, which ends the training.

        An epoch is good when it is better than the best so far (`plateau_mode` best; torch's `ReduceLROnPlateau` with
        threshold 0), or at least as good as the one before it (previous). After more than `plateau_patience` bad ones
        in a row the rate is multiplied by `step_factor`, and the count begins anew.
        """
        metric = accuracy if config.best_by == "accuracy" else None if loss is None else -loss
        if metric is None:
            return False
        if config.plateau_mode == "best":
            improved = self.best is None or metric > self.best
        else:
            improved = self.before is None or metric >= self.before
        self.best, self.before = metric if self.best is None else max(self.best, metric), metric
        self.bad = 0 if improved else self.bad + 1
        if self.bad <= config.plateau_patience:
            return False
        self.share, self.bad, self.cuts = self.share * config.step_factor, 0, self.cuts + 1
        return bool(config.plateau_cuts) and self.cuts >= config.plateau_cuts
