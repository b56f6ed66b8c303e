"""Mixed pictures: what is in them, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.training.optim.mixup import MixedBatch, mix_batch

COUNT, SIDE = 6, 32


def flat() -> Tensor:
    """Pictures of one value each: picture i is i everywhere."""
    return torch.arange(float(COUNT)).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)


def mixtures(**settings: Any) -> list[MixedBatch]:
    return [mix_batch(flat(), TrainConfig(features="fresh", **settings), step) for step in range(200)]


def test_without_either_nothing_is_touched() -> None:
    pictures = flat()
    assert mix_batch(pictures, TrainConfig(), 3).inputs is pictures
    assert mix_batch(pictures[:1], TrainConfig(mixup=1.0), 3).partner_indices is None, "a picture alone has no partner"


def test_mixup_is_a_weighted_sum_of_a_picture_and_its_neighbour() -> None:
    for one in mixtures(mixup=0.4):
        assert one.partner_indices is not None
        assert one.partner_indices.tolist() == [5, 0, 1, 2, 3, 4]
        assert 0.5 <= one.own_weight <= 1
        expected = one.own_weight * flat() + (1 - one.own_weight) * flat()[one.partner_indices]
        assert torch.allclose(one.inputs, expected, atol=1e-5)


@pytest.mark.parametrize(("alpha", "mean"), [(0.2, 0.905), (1.0, 0.75), (8.0, 0.598)])
def test_shares_are_drawn_from_the_beta_distribution(alpha: float, mean: float) -> None:
    kept = [one.own_weight for one in mixtures(mixup=alpha)]
    assert sum(kept) / len(kept) == pytest.approx(mean, abs=0.03)


def test_cutmix_puts_a_box_of_the_neighbour_in_and_its_area_is_the_share() -> None:
    for one in mixtures(cutmix=1.0):
        assert one.partner_indices is not None
        assert one.own_weight >= 0.5
        for picture, (own, other) in zip(one.inputs, enumerate(one.partner_indices.tolist()), strict=True):
            inside = picture == other
            assert torch.all(inside | (picture == own))
            assert float(inside.float().mean()) == pytest.approx(1 - one.own_weight, abs=1e-6)
            rows, columns = inside[0].any(1), inside[0].any(0)
            assert int(inside[0].sum()) == int(rows.sum()) * int(columns.sum()), "a box"


def test_the_pictures_given_are_left_as_they_are() -> None:
    pictures = flat().clone()
    mix_batch(pictures, TrainConfig(cutmix=1.0, features="fresh"), 0)
    assert torch.equal(pictures, flat())


def test_with_both_a_coin_decides() -> None:
    cut = sum(len(one.inputs[1].unique()) == 2 for one in mixtures(mixup=1.0, cutmix=1.0))
    assert 70 < cut < 130


def test_cached_features_are_blended_too() -> None:
    one = mix_batch(torch.eye(3), TrainConfig(mixup=1.0), 0)
    assert one.inputs[0].tolist() == pytest.approx([one.own_weight, 0, 1 - one.own_weight])


def test_it_is_a_function_of_seed_and_step() -> None:
    def kept(seed: int, step: int) -> float:
        return mix_batch(flat(), TrainConfig(mixup=1.0, seed=seed), step).own_weight

    assert kept(1, 5) == kept(1, 5)
    assert len({kept(1, 5), kept(1, 6), kept(2, 5)}) == 3
