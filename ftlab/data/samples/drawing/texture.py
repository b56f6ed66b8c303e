"""What grounds are made with: noise, colours, and what a ground is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, hex_to_linear_rgb

BackgroundPainter = Callable[[np.random.Generator, int], "Background"]
"""(random numbers, pixels of a side S) -> ground."""

_HUE_CODES = "c9574b d98a3d d9b64a 8fae4b 4f9a6b 3f9a9a 4b86b8 5a68b3 8a5fae b8608f 8a7a68 5d6670 a8704a"


@dataclass(frozen=True)
class Background:
    """A background.

    Attributes:
        albedo: [S, S, 3] float32 linear RGB.
        relief: [S, S] float32 height in pixels; the light falls on its slopes.
        gloss: 0 (sand) to 1 (glazed).
        is_distant: as far as the sky: no shadow falls on it.
    """

    albedo: Array
    relief: Array
    gloss: float = 0.05
    is_distant: bool = False

    @property
    def mean_color(self) -> Array:
        """Mean colour, linear RGB [3]."""
        return np.array(cv2.mean(self.albedo)[:3], np.float32)


def fractal_noise(rng: np.random.Generator, side: int, cells: tuple[float, float], octaves: int = 4) -> Array:
    """Smooth noise [side, side] float32 in [0, 1], mean about 0.5.

    Args:
        rng: where the numbers come from.
        side: pixels.
        cells: how many bumps of the coarsest octave fit down and across; each octave has twice as many, half as high.
        octaves: how many.
    """
    noise = np.zeros((side, side), np.float32)
    for k in range(octaves):
        shape = [int(min(side, np.ceil(cell_count * 2**k))) + 3 for cell_count in cells]
        layer = rng.random(shape, dtype=np.float32)
        noise += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**k)
    return np.clip((noise / (2 - 2.0 ** (1 - octaves)) - 0.5) * 1.6 + 0.5, 0, 1)


def pixel_grid(side: int) -> tuple[Array, Array]:
    """Row and column of each pixel in [0, 1), two arrays [side, side] float32."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side)
    return y, x


def pick_color(rng: np.random.Generator, codes: str) -> Array:
    """One of the colours, a little brighter or darker."""
    return hex_to_linear_rgb(str(rng.choice(codes.split()))) * rng.uniform(0.85, 1.1)


def random_tint(rng: np.random.Generator, *, is_pale: bool = False) -> Array:
    """Any hue, or, `is_pale`, a cream with a touch of it."""
    hue = pick_color(rng, _HUE_CODES)
    return hue * 0.25 + 0.62 * hex_to_linear_rgb("fbf6ec") if is_pale else hue


def mix_colors(amount: Array, start_color: Array, end_color: Array) -> Array:
    """[S, S, 3]: from one colour to another by an amount [S, S] in [0, 1]."""
    return start_color + (end_color - start_color) * amount[..., None]


def transpose_at_random(rng: np.random.Generator, background: Background) -> Background:
    """Half of the time turned by a quarter."""
    if rng.random() < 0.5:
        return background
    albedo, relief = background.albedo.transpose(1, 0, 2), background.relief.T
    return Background(np.ascontiguousarray(albedo), np.ascontiguousarray(relief), background.gloss)
