"""Which epochs belong to which phase, and with what optimizer and rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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


def test_all_layers_follow_the_upper_ones_with_or_without_a_phase_of_the_head_alone() -> None:
    part: dict[str, Any] = {"mode": "full", "epochs": 10, "unfreeze_from": "auto"}
    three = TrainConfig(**part, unfreeze_epoch=2, unfreeze_all_epoch=5)
    assert phases.list_phases(three) == [Phase(1, 1, 2), Phase(2, 3, 5), Phase(3, 6, 10)]
    assert [phases.get_epoch_phase(three, epoch).number for epoch in range(12)] == [1] * 3 + [2] * 3 + [3] * 6
    assert [phases.trains_all_at_last(three, phase) for phase in phases.list_phases(three)] == [False, False, True]
    two = TrainConfig(**part, unfreeze_all_epoch=5)
    assert phases.list_phases(two) == [Phase(1, 1, 5), Phase(2, 6, 10)]
    assert [phases.trains_all_at_last(two, phase) for phase in phases.list_phases(two)] == [False, True]


def test_activations_are_cached_until_all_layers_are_trained() -> None:
    config = TrainConfig(
        mode="full", epochs=10, unfreeze_from="auto", activations="cached", unfreeze_epoch=2, unfreeze_all_epoch=5,
        learning_rate=0.1, phase2_lr=0.01,
    )  # fmt: skip
    of_phases = [phases.get_phase_config(config, phase) for phase in phases.list_phases(config)]
    assert [phase_config.caches_activations for phase_config in of_phases] == [True, True, False]
    assert [phase_config.learning_rate for phase_config in of_phases] == [0.1, 0.01, 0.01]
    slower = replace(config, phase3_lr=0.001)
    assert phases.get_phase_config(slower, phases.get_phase(slower, 3)).learning_rate == 0.001


def test_each_phase_has_its_optimizer_and_rate() -> None:
    first, second = (phases.get_phase_config(TWO, phases.get_phase(TWO, number)) for number in (1, 2))
    assert (first.optimizer, first.learning_rate) == ("adamw", 0.1)
    assert (second.optimizer, second.learning_rate) == ("rmsprop", 1e-5)
    same = TrainConfig(mode="full", epochs=10, unfreeze_epoch=4, optimizer="sgd", learning_rate=0.1)
    second = phases.get_phase_config(same, phases.get_phase(same, 2))
    assert (second.optimizer, second.learning_rate) == ("sgd", 0.1)
