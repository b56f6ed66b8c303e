"""The image under a heat map: its size, and the part of it that the network saw."""

from __future__ import annotations

import cv2

from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference.heatmap import Uint8Image

MAX_SIDE_PIXELS = 1024
"""Longer side of an image as it is shown, in pixels."""


def resize_for_display(pixels: Uint8Image) -> Uint8Image:
    """Return an image, uint8 [H, W, 3], with a longer side of at most `MAX_SIDE_PIXELS`; a smaller one as it is."""
    scale = MAX_SIDE_PIXELS / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def locate_visible_box(image: Uint8Image, pixels: Uint8Image, prep: Preprocessing) -> tuple[int, int, int, int]:
    """Locate the part of an image that the network sees.

    Args:
        image: as it is shown, uint8 [h, w, 3].
        pixels: as it was decoded, uint8 [H, W, 3].
        prep: preprocessing of the network's images.

    Returns:
        x0, y0, x1, y1 in pixels of `image`.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = preprocess.visible_box(pixels.shape[1], pixels.shape[0], prep)
    x_min, y_min = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    # Of an image a pixel wide the network sees less than a pixel: the box keeps at least one.
    return x_min, y_min, max(x_min + 1, round(x1 * width)), max(y_min + 1, round(y1 * height))
