"""Pixels on their way to the network: torchvision's evaluation crop to the bit, and randomness that can be repeated."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from ftlab import backbones
from ftlab.data import transforms
from ftlab.data.transforms import CROP_SCALE, Preprocessing

PREP = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SMALL = Preprocessing(40, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZES = [(500, 375), (375, 500), (256, 256), (257, 301), (1001, 333), (61, 47), (7, 640), (1, 200), (200, 1), (1, 1)]
"""Width and height."""


def noise(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_the_evaluation_crop_is_torchvisions_to_the_bit(size: tuple[int, int], interpolation: str) -> None:
    pixels = noise(*size)
    theirs = v2.Compose(
        [v2.Resize(PREP.resize, InterpolationMode(interpolation), antialias=True), v2.CenterCrop(PREP.side)]
    )
    expected = theirs(torch.from_numpy(pixels).permute(2, 0, 1))
    given = transforms.evaluation(pixels, dataclasses.replace(PREP, interpolation=interpolation))
    assert given.dtype == expected.dtype == torch.uint8
    assert given.shape == (3, 224, 224)
    assert torch.equal(given, expected)


@pytest.mark.parametrize("size", SIZES[:6])
def test_the_box_is_what_the_network_sees(size: tuple[int, int]) -> None:
    width, height = size
    x0, y0, x1, y1 = transforms.seen_box(width, height, PREP)
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1
    assert (x0 + x1, y0 + y1) == pytest.approx((1, 1), abs=0.01)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = 255
    seen = transforms.evaluation(pixels, PREP)
    margin = 2 + PREP.resize // min(size)  # of interpolation and rounding
    assert seen[:, margin:-margin, margin:-margin].min() == 255
    assert (seen == 255).float().mean() > 0.9

    outside = np.full((height, width, 3), 255, np.uint8)
    outside[pixels[..., 0] == 255] = 0
    assert transforms.evaluation(outside, PREP)[:, margin:-margin, margin:-margin].max() == 0


def test_normalising_is_what_it_says() -> None:
    batch = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normal = transforms.normalise(batch, PREP)
    assert normal.dtype == torch.float32
    expected = [(0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normal.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert batch.flatten().tolist() == [0, 51, 255]


@pytest.mark.parametrize("name", list(backbones.TABLE))
def test_the_preparation_travels_as_json(name: str) -> None:
    prep = transforms.of(backbones.get(name))
    assert transforms.from_json(json.loads(json.dumps(prep.to_json()))) == prep


# Augmentation


def test_randomness_is_a_function_of_seed_epoch_and_index() -> None:
    assert transforms.randomness(1, 2, 3).random() == transforms.randomness(1, 2, 3).random()
    drawn = {
        transforms.randomness(*three).random() for three in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 23, 3)]
    }
    assert len(drawn) == 5


@pytest.mark.parametrize("kind", ["crop", "flip", "none"])
def test_the_same_draw_gives_the_same_picture(kind: str) -> None:
    pixels = noise(61, 47)
    once, again = (transforms.augmented(pixels, SMALL, kind, random.Random("3/1/4")) for _ in range(2))
    assert torch.equal(once, again)
    assert (once.dtype, once.shape) == (torch.uint8, (3, 32, 32))


def test_none_is_the_evaluation_crop_and_flip_mirrors_half_of_them() -> None:
    pixels = noise(61, 47)
    plain = transforms.evaluation(pixels, SMALL)
    assert torch.equal(transforms.augmented(pixels, SMALL, "none", random.Random(0)), plain)
    drawn = [transforms.augmented(pixels, SMALL, "flip", transforms.randomness(0, 1, index)) for index in range(200)]
    mirrored = sum(torch.equal(one, plain.flip(-1)) for one in drawn)
    assert 70 < mirrored < 130
    assert all(torch.equal(one, plain) or torch.equal(one, plain.flip(-1)) for one in drawn)


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (90, 90)])
def test_a_random_crop_keeps_a_share_of_the_picture_and_its_proportions(size: tuple[int, int]) -> None:
    width, height = size
    boxes = [transforms._random_box(width, height, random.Random(seed)) for seed in range(300)]
    for top, left, tall, wide in boxes:
        assert 0 <= top <= top + tall <= height
        assert 0 <= left <= left + wide <= width
        assert CROP_SCALE[0] - 0.02 <= tall * wide / (width * height) <= CROP_SCALE[1]
        assert 0.73 < wide / tall < 1.36
    assert len(set(boxes)) > 250


def test_a_strip_that_no_crop_fits_gives_its_middle() -> None:
    assert transforms._random_box(900, 10, random.Random(0)) == (0, 445, 10, 10)
    assert transforms.augmented(noise(900, 10), SMALL, "crop", random.Random(0)).shape == (3, 32, 32)


def test_views_are_the_evaluation_crop_its_mirror_and_random_crops() -> None:
    pixels = noise(61, 47)
    plain = transforms.evaluation(pixels, SMALL)
    views = [transforms.view(pixels, SMALL, number, random.Random(number)) for number in range(5)]
    assert torch.equal(views[0], plain)
    assert torch.equal(views[1], plain.flip(-1))
    assert len({view.numpy().tobytes() for view in views}) == 5
