"""The image under a heat map, and the part of it that the network saw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ftlab.config import backbones
from ftlab.data.transforms import preprocess
from ftlab.inference import shown_image

PREP = preprocess.from_spec(dataclasses.replace(backbones.get_backbone_spec("resnet18"), side=64, resize=64))


@pytest.mark.parametrize(
    ("size", "shown"),
    [((300, 1024), (300, 1024)), ((2048, 512), (1024, 256)), ((1, 4096), (1, 1024)), ((1536, 2048), (768, 1024))],
)
def test_only_large_images_are_reduced(size: tuple[int, int], shown: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 77, np.uint8)
    image = shown_image.resize_for_display(pixels)
    assert image.shape == (*shown, 3)
    assert (image == 77).all()
    assert (image is pixels) == (size == shown)


def test_the_visible_box_is_the_center_square_in_pixels_of_the_shown_image() -> None:
    pixels, image = np.zeros((1000, 2000, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    assert shown_image.locate_visible_box(image, pixels, PREP) == (50, 0, 150, 100)
    assert shown_image.locate_visible_box(pixels, pixels, PREP) == (500, 0, 1500, 1000)


def test_a_box_is_never_empty() -> None:
    line = np.zeros((1, 500, 3), np.uint8)
    x0, y0, x1, y1 = shown_image.locate_visible_box(line, line, PREP)
    assert (y0, y1) == (0, 1)
    assert x1 > x0
