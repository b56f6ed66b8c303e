"""Plateau schedule: the learning rate is reduced when the validation metric does not improve.

It is the only schedule with a state, which is part of the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftlab.config.train_config import TrainConfig


@dataclass
class PlateauState:
    """State of the plateau schedule; the names of its fields are those in the checkpoint.

    Attributes:
        share: factor of the learning rate after all reductions, in (0, 1].
        best: best validation metric so far; larger is better.
        before: validation metric of the epoch before.
        bad: number of epochs in a row without improvement.
        cuts: number of reductions so far.
    """

    share: float = 1.0
    best: float | None = None
    before: float | None = None
    bad: int = 0
    cuts: int = 0

    def record_validation(self, config: TrainConfig, accuracy: float | None, loss: float | None) -> bool:
        """Record the validation of an epoch, and reduce the learning rate if it is time.

        With `plateau_mode` `best` an epoch improves if it is better than the best so far, as PyTorch's
        `ReduceLROnPlateau` with threshold 0; with `previous`, if it is at least as good as the epoch before. After more
        than `plateau_patience` epochs in a row without improvement the rate is multiplied by `lr_gamma`.

        Args:
            config: monitored metric, patience and factor.
            accuracy: of the validation.
            loss: of the validation.

        Returns:
            Whether this was the last reduction allowed, which ends the training.
        """
        metric = accuracy if config.monitor == "accuracy" else None if loss is None else -loss
        # Without a validated image there is nothing to compare.
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
        self.share, self.bad, self.cuts = self.share * config.lr_gamma, 0, self.cuts + 1
        return bool(config.plateau_max_reductions) and self.cuts >= config.plateau_max_reductions
