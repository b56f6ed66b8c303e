"""Which epochs belong to which phase, and with what optimizer and rate."""

from __future__ import annotations

from ftlab.config.train_config import TrainConfig
from ftlab.training.optim import phases
from ftlab.training.optim.phases import Phase

TWO = TrainConfig(
    mode="full", epochs=10, unfreeze_epoch=4, learning_rate=0.1, phase2_optimizer="rmsprop", phase2_lr=1e-5
)


def test_one_phase_unless_there_is_a_turn() -> None:
    config = TrainConfig(mode="full", epochs=10)
    assert {phases.get_epoch_phase(config, epoch) for epoch in range(11)} == {Phase(1, 1, 10)}
    assert phases.get_phase_config(config, phases.get_epoch_phase(config, 1)) == config


def test_the_turn_lies_after_the_epochs_of_the_head_alone() -> None:
    assert [phases.get_epoch_phase(TWO, epoch).number for epoch in range(11)] == [1] * 5 + [2] * 6
    assert phases.get_phase(TWO, 1) == Phase(1, 1, 4)
    assert phases.get_phase(TWO, 2) == Phase(2, 5, 10)
    assert [phases.get_phase(TWO, number).epoch_count for number in (1, 2)] == [4, 6]


def test_each_phase_has_its_optimizer_and_rate() -> None:
    first, second = (phases.get_phase_config(TWO, phases.get_phase(TWO, number)) for number in (1, 2))
    assert (first.optimizer, first.learning_rate) == ("adamw", 0.1)
    assert (second.optimizer, second.learning_rate) == ("rmsprop", 1e-5)
    same = TrainConfig(mode="full", epochs=10, unfreeze_epoch=4, optimizer="sgd", learning_rate=0.1)
    second = phases.get_phase_config(same, phases.get_phase(same, 2))
    assert (second.optimizer, second.learning_rate) == ("sgd", 0.1)
