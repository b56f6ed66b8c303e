"""The order of an epoch: each picture once, or as many of each class."""

from __future__ import annotations

from collections import Counter

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.data.loading import loader
from ftlab.data.loading.sampler import sample_epoch_indices

LABELS = [0] * 40 + [1] * 15 + [2] * 5
BALANCED = TrainConfig(sampling="balanced", seed=3)


def test_shuffled_it_is_each_picture_once() -> None:
    config = TrainConfig(seed=3)
    assert sample_epoch_indices(config, LABELS, 2) == loader.shuffle_indices(3, 2, len(LABELS))


@pytest.mark.parametrize("labels", [LABELS, [*LABELS, 0], [0, 1, 2, 2]])
def test_balanced_it_is_as_many_of_each_class_and_as_many_in_all(labels: list[int]) -> None:
    drawn = sample_epoch_indices(BALANCED, labels, 1)
    counts = Counter(labels[index % len(labels)] for index in drawn)
    assert len(drawn) == len(labels)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_repetition_has_a_number_of_its_own_and_no_picture_comes_twice_before_all_came_once() -> None:
    drawn = sample_epoch_indices(BALANCED, LABELS, 1)
    assert len(set(drawn)) == len(drawn)
    rare = Counter(index % 60 for index in drawn if LABELS[index % 60] == 2)
    assert rare == dict.fromkeys(range(55, 60), 4)
    assert {index // 60 for index in drawn if LABELS[index % 60] == 2} == {0, 1, 2, 3}
    assert all(index < 60 for index in drawn if LABELS[index % 60] == 0)


def test_it_is_a_function_of_seed_and_epoch() -> None:
    assert sample_epoch_indices(BALANCED, LABELS, 1) == sample_epoch_indices(BALANCED, LABELS, 1)
    assert sample_epoch_indices(BALANCED, LABELS, 1) != sample_epoch_indices(BALANCED, LABELS, 2)
    assert sample_epoch_indices(BALANCED, LABELS, 1) != sample_epoch_indices(
        TrainConfig(sampling="balanced", seed=4), LABELS, 1
    )
    large = [{i for i in sample_epoch_indices(BALANCED, LABELS, epoch) if i < 40} for epoch in (1, 2)]
    assert large[0] != large[1], "of a large class other pictures each epoch"
