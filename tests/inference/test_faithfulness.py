"""Whether a map means anything: orders by hand, networks of which it is known what they look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ftlab.inference import faithfulness
from ftlab.inference.faithfulness import (
    MASK_STEPS,
    SHUFFLE_COUNT,
    Faithfulness,
    area_under_curve,
    rank_pixels,
    score_map,
)

SIDE = 64


@pytest.fixture
def picture() -> Tensor:
    """Noise, and a chequered patch at the top left, which does not survive a blur."""
    made = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.01
    made[..., :16, :16] = 2.0 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2) - 1.0
    return made


def patch_seen(batch: Tensor) -> Tensor:
    """Class 0 is as probable as the patch is sharp."""
    sharp = batch[:, 0, :16, :16].abs().mean(dim=(1, 2)).clamp(0, 1)
    return torch.stack([sharp, 1 - sharp], 1)


def on_the_patch(value: float = 1.0) -> Tensor:
    made = torch.zeros(8, 8)
    made[:2, :2] = value
    return made


def test_a_map_of_what_the_network_looks_at_means_something(picture: Tensor) -> None:
    found = score_map(patch_seen, picture, on_the_patch(), 0)
    assert found.is_meaningful
    assert found.beaten_shuffles == SHUFFLE_COUNT
    areas = found.compute_areas()
    # An eighth of each side is enlarged bilinearly: the patch, a sixteenth of the places, goes in the first shares.
    assert areas["deletion"] < 0.2 < areas["chance_deletion"]
    assert areas["insertion"] > 0.8 > areas["chance_insertion"]


def test_a_map_of_another_place_is_no_better_than_chance(picture: Tensor) -> None:
    found = score_map(patch_seen, picture, on_the_patch().flip(0, 1), 0)
    assert not found.is_meaningful
    assert found.beaten_shuffles < SHUFFLE_COUNT


def test_a_network_that_looks_at_nothing_has_no_map_that_means_anything(picture: Tensor) -> None:
    found = score_map(lambda batch: torch.full((len(batch), 2), 0.5), picture, on_the_patch(), 0)
    assert found.beaten_shuffles == 0
    assert list(found.compute_areas().values()) == pytest.approx([0.5] * 4)


def test_curves_begin_and_end_with_the_picture_and_the_blurred_one(picture: Tensor) -> None:
    found = score_map(patch_seen, picture, on_the_patch(), 0)
    whole, blurred = (float(patch_seen(one)[0, 0]) for one in (picture, faithfulness.blur_image(picture)))
    assert whole > 0.9 > 0.2 > blurred
    for way, (first, last) in (("deletion", (whole, blurred)), ("insertion", (blurred, whole))):
        for name, length in ((way, MASK_STEPS + 1), (f"chance_{way}", MASK_STEPS // 2 + 1)):
            curve = getattr(found, name)
            assert len(curve) == length
            assert (curve[0], curve[-1]) == pytest.approx((first, last), abs=1e-6)
    assert (np.diff(found.deletion) <= 1e-6).all()
    assert (np.diff(found.insertion) >= -1e-6).all()


def test_the_probability_is_that_of_the_class_asked_about(picture: Tensor) -> None:
    one, other = (score_map(patch_seen, picture, on_the_patch(), index) for index in (0, 1))
    assert one.deletion + other.deletion == pytest.approx(np.ones(MASK_STEPS + 1))


def test_it_asks_in_batches_and_says_how_far_it_is(picture: Tensor) -> None:
    sizes: list[int] = []
    told: list[tuple[int, int]] = []

    def ask(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return patch_seen(batch)

    score_map(ask, picture, on_the_patch(), 0, lambda done, total: told.append((done, total)))
    assert sum(sizes) == 2 + 2 * (MASK_STEPS - 1) + SHUFFLE_COUNT * 2 * (MASK_STEPS // 2 - 1) == 202
    assert max(sizes) == 32
    assert [done for done, _ in told] == np.cumsum(sizes).tolist()
    assert {total for _, total in told} == {202}


def test_it_gives_the_same_again(picture: Tensor) -> None:
    one, two = (
        score_map(patch_seen, picture, torch.rand(8, 8, generator=torch.Generator().manual_seed(1)), 0) for _ in "ab"
    )
    assert one.to_json() == two.to_json()


def test_the_most_important_places_come_first_and_equal_ones_in_no_order() -> None:
    values = np.array([[3.0, 1.0], [0.0, 2.0]], np.float32)
    assert rank_pixels(values, 2, np.random.default_rng(0)).tolist() == [[0, 2], [3, 1]]
    flat = rank_pixels(np.zeros((2, 2), np.float32), 16, np.random.default_rng(0))
    assert sorted(flat.ravel().tolist()) == list(range(256))
    assert abs(np.corrcoef(flat.ravel(), np.arange(256))[0, 1]) < 0.2


def test_what_speaks_against_the_class_is_not_important(picture: Tensor) -> None:
    evidence = on_the_patch() - 5.0 * on_the_patch().flip(0, 1)
    assert score_map(patch_seen, picture, evidence, 0).is_meaningful


def test_an_area_by_hand() -> None:
    assert area_under_curve(np.array([1.0, 0.5, 0.0])) == 0.5
    assert area_under_curve(np.array([1.0, 1.0, 0.0])) == 0.75


def test_the_verdict_is_a_sentence() -> None:
    flat, chance = np.full(MASK_STEPS + 1, 0.25), np.full(MASK_STEPS // 2 + 1, 0.125)
    yes, no = (Faithfulness(flat, flat, chance, chance, beaten) for beaten in (SHUFFLE_COUNT, 3))
    assert faithfulness.describe_faithfulness(yes)[0] == "The map means something."
    assert "25.0 %" in faithfulness.describe_faithfulness(yes)[1]
    assert "12.5 %" in faithfulness.describe_faithfulness(yes)[1]
    assert "no better than a random one" in faithfulness.describe_faithfulness(no)[0]
    assert "3 of 9" in faithfulness.describe_faithfulness(no)[1]
    assert "no evidence" in faithfulness.describe_faithfulness(None)[0]
    assert yes.to_json()["meaningful"] is True
