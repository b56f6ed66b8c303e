"""Phases of a training: the head alone, then the backbone too. Each has a learning rate schedule of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class Phase:
    """Phase of a training.

    Attributes:
        number: 1 or 2.
        first_epoch: from 1.
        last_epoch: included.
    """

    number: int
    first_epoch: int
    last_epoch: int

    @property
    def epoch_count(self) -> int:
        """Number of epochs."""
        return self.last_epoch - self.first_epoch + 1


def get_epoch_phase(config: TrainConfig, epoch: int) -> Phase:
    """Return the phase of an epoch; epoch 0, the untrained network, belongs to the first phase."""
    unfreeze_epoch, epochs = config.unfreeze_epoch, config.epochs or 1
    if not unfreeze_epoch:
        return Phase(1, 1, epochs)
    return Phase(1, 1, unfreeze_epoch) if epoch <= unfreeze_epoch else Phase(2, unfreeze_epoch + 1, epochs)


def get_phase(config: TrainConfig, number: int) -> Phase:
    """Return the phase with a number, 1 or 2."""
    # Any epoch of the phase will do.
    return get_epoch_phase(config, config.unfreeze_epoch + 1 if number == 2 else 1)


def get_phase_config(config: TrainConfig, phase: Phase) -> TrainConfig:
    """Return the configuration with optimizer and learning rate of a phase."""
    if phase.number == 1:
        return config
    optimizer = config.optimizer if config.phase2_optimizer == "same" else config.phase2_optimizer
    return replace(config, optimizer=optimizer, learning_rate=config.phase2_lr or config.learning_rate)
