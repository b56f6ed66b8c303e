"""Pixels on their way to the network: torchvision's evaluation crop to the bit, and randomness that can be repeated."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing

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
    given = preprocess.resize_and_center_crop(pixels, dataclasses.replace(PREP, interpolation=interpolation))
    assert given.dtype == expected.dtype == torch.uint8
    assert given.shape == (3, 224, 224)
    assert torch.equal(given, expected)


@pytest.mark.parametrize("size", SIZES)
def test_squashed_it_is_torchvisions_resize_to_both_sides(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    prep = dataclasses.replace(PREP, resize_mode="squash")
    expected = v2.Compose([v2.Resize((256, 256), antialias=True), v2.CenterCrop(224)])(
        torch.from_numpy(pixels).permute(2, 0, 1)
    )
    assert torch.equal(preprocess.resize_and_center_crop(pixels, prep), expected)


@pytest.mark.parametrize("mode", ["short", "squash"])
@pytest.mark.parametrize("size", SIZES[:6])
def test_the_box_is_what_the_network_sees(size: tuple[int, int], mode: str) -> None:
    width, height = size
    prep = dataclasses.replace(PREP, resize_mode=mode)
    x0, y0, x1, y1 = preprocess.visible_box(width, height, prep)
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1
    assert (x0 + x1, y0 + y1) == pytest.approx((1, 1), abs=0.01)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = 255
    seen = preprocess.resize_and_center_crop(pixels, prep)
    margin = 2 + PREP.resize // min(size)  # of interpolation and rounding
    assert seen[:, margin:-margin, margin:-margin].min() == 255
    assert (seen == 255).float().mean() > 0.9

    outside = np.full((height, width, 3), 255, np.uint8)
    outside[pixels[..., 0] == 255] = 0
    assert preprocess.resize_and_center_crop(outside, prep)[:, margin:-margin, margin:-margin].max() == 0


def test_normalising_is_what_it_says() -> None:
    batch = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normal = preprocess.normalize_batch(batch, PREP)
    assert normal.dtype == torch.float32
    expected = [(0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normal.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert batch.flatten().tolist() == [0, 51, 255]


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_the_preparation_travels_as_json(name: str) -> None:
    prep = preprocess.from_spec(backbones.get_backbone_spec(name))
    assert preprocess.from_json(json.loads(json.dumps(prep.to_json()))) == prep


def test_a_description_without_a_way_of_resizing_is_one_of_the_short_side() -> None:
    values = PREP.to_json()
    del values["resize_mode"]
    assert preprocess.from_json(values) == PREP


# What a configuration asks for

SPEC = backbones.get_backbone_spec("resnet18")  # 224 of 256
FULL = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)


@pytest.mark.parametrize("spec", [SPEC, FULL])
def test_untouched_it_is_what_the_weights_were_trained_with(spec: backbones.BackboneSpec) -> None:
    assert preprocess.from_config(spec, TrainConfig()) == preprocess.from_spec(spec)


@pytest.mark.parametrize(
    ("settings", "resize", "side", "mode"),
    [
        ({"image_size": 112}, 128, 112, "short"),
        ({"resize": 240}, 240, 224, "short"),
        ({"image_size": 160, "resize": 160}, 160, 160, "short"),
        ({"image_size": 160, "resize_mode": "squash"}, 160, 160, "squash"),
        ({"resize_mode": "squash"}, 224, 224, "squash"),
        ({"resize": 256, "resize_mode": "squash"}, 256, 224, "squash"),
    ],
)
def test_sides_are_the_persons_or_follow_the_backbones(
    settings: dict[str, Any], resize: int, side: int, mode: str
) -> None:
    prep = preprocess.from_config(SPEC, TrainConfig(**settings))
    assert (prep.resize, prep.side, prep.resize_mode) == (resize, side, mode)
    assert preprocess.resize_and_center_crop(noise(300, 200), prep).shape == (3, side, side)


@pytest.mark.parametrize("settings", [{"resize": 200}, {"augment": "crop", "crop_size": 200}])
def test_what_is_smaller_than_the_backbones_side_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        preprocess.from_config(SPEC, TrainConfig(**settings))
    assert caught.value.code == "config.side_larger"


def test_unit_brings_pixels_from_minus_one_to_one() -> None:
    prep = preprocess.from_config(SPEC, TrainConfig(normalization="unit"))
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert preprocess.normalize_batch(ends, prep)[:, :, 0, 0].tolist() == [[-1.0] * 3, [1.0] * 3]


def test_a_large_side_is_not_made_of_a_small_picture() -> None:
    assert PREP.decode_options.min_side == 512
    assert dataclasses.replace(PREP, resize=700).decode_options.min_side == 700


def test_normalising_first_without_gradients_leaves_them_to_others_later() -> None:
    prep = preprocess.Preprocessing(8, 8, "bilinear", (0.1, 0.2, 0.3), (0.7, 0.6, 0.5))
    pixels = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    with torch.inference_mode():
        preprocess.normalize_batch(pixels, prep)
    wanted = torch.full((1, 3, 8, 8), 100.0, requires_grad=True)
    preprocess.normalize_batch(wanted.clone(), prep).sum().backward()
    assert wanted.grad is not None
    assert torch.allclose(wanted.grad[0, :, 0, 0] * 255, 1 / torch.tensor(prep.std))
