"""Phases of a training: the head alone, then upper layers, then all. Each has a learning rate schedule of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class Phase:
    """Phase of a training.

    Attributes:
        number: from 1.
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


def list_phases(config: TrainConfig) -> list[Phase]:
    """Return the phases of a training: one, and one more for each time that more layers are unfrozen."""
    last_epochs = [*filter(None, (config.unfreeze_epoch, config.unfreeze_all_epoch)), config.epochs or 1]
    first_epochs = [1, *(epoch + 1 for epoch in last_epochs)]
    return [Phase(index + 1, *epochs) for index, epochs in enumerate(zip(first_epochs, last_epochs, strict=False))]


def get_epoch_phase(config: TrainConfig, epoch: int) -> Phase:
    """Return the phase of an epoch; epoch 0, the untrained network, belongs to the first phase."""
    phases = list_phases(config)
    return next((phase for phase in phases if epoch <= phase.last_epoch), phases[-1])


def get_phase(config: TrainConfig, number: int) -> Phase:
    """Return the phase with a number, from 1."""
    return list_phases(config)[number - 1]


def trains_all_at_last(config: TrainConfig, phase: Phase) -> bool:
    """Return whether a phase trains all layers, of which the phase before it trained the upper ones."""
    return 0 < config.unfreeze_all_epoch < phase.first_epoch


def get_phase_config(config: TrainConfig, phase: Phase) -> TrainConfig:
    """Return the configuration of a phase: its optimizer, its learning rate, and whether activations are cached.

    Args:
        config: of the run.
        phase: one of its phases.
    """
    if phase.number == 1:
        return config
    phase_rate = config.phase2_lr or config.learning_rate
    return replace(
        config,
        optimizer=config.optimizer if config.phase2_optimizer == "same" else config.phase2_optimizer,
        learning_rate=config.phase3_lr or phase_rate if phase.number == 3 else phase_rate,
        activations="fresh" if trains_all_at_last(config, phase) else config.activations,
    )
