"""Building blocks of backgrounds: noise, colors, and the background itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, hex_to_linear_rgb

BackgroundPainter = Callable[[np.random.Generator, int], "Background"]
"""(random generator, side S in pixels) -> background."""

_HUE_CODES = "c9574b d98a3d d9b64a 8fae4b 4f9a6b 3f9a9a 4b86b8 5a68b3 8a5fae b8608f 8a7a68 5d6670 a8704a"


@dataclass(frozen=True)
class Background:
    """A background.

    Attributes:
        albedo: float32 [S, S, 3], linear RGB.
        relief: float32 [S, S], height in pixels; light falls on its slopes.
        gloss: 0 (sand) to 1 (glazed).
        is_distant: whether it is as far as the sky, so that no shadow falls on it.
    """

    albedo: Array
    relief: Array
    gloss: float = 0.05
    is_distant: bool = False

    @property
    def mean_color(self) -> Array:
        """Mean color, linear RGB, float32 [3]."""
        return np.array(cv2.mean(self.albedo)[:3], np.float32)


def fractal_noise(rng: np.random.Generator, side: int, cells: tuple[float, float], octaves: int = 4) -> Array:
    """Return smooth noise with mean about 0.5: several octaves of value noise.

    Args:
        rng: source of random numbers.
        side: width and height in pixels.
        cells: bumps of the coarsest octave down and across; each octave has twice as many, half as high.
        octaves: number of octaves.

    Returns:
        float32 [side, side] in [0, 1].
    """
    noise = np.zeros((side, side), np.float32)
    for k in range(octaves):
        shape = [int(min(side, np.ceil(cell_count * 2**k))) + 3 for cell_count in cells]
        layer = rng.random(shape, dtype=np.float32)
        noise += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**k)
    # Normalized by the sum of the octaves' weights; then contrast is raised, as sums of octaves are mostly mid-gray.
    clipped_noise: Array = np.clip((noise / (2 - 2.0 ** (1 - octaves)) - 0.5) * 1.6 + 0.5, 0, 1)
    return clipped_noise


def pixel_grid(side: int) -> tuple[Array, Array]:
    """Return row and column of each pixel in [0, 1), float32 [side, side] each."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side)
    return y, x


def pick_color(rng: np.random.Generator, codes: str) -> Array:
    """Return one of the space-separated hexadecimal colors, a little brighter or darker."""
    return hex_to_linear_rgb(str(rng.choice(codes.split()))) * rng.uniform(0.85, 1.1)


def random_tint(rng: np.random.Generator, *, is_pale: bool = False) -> Array:
    """Return a color of any hue, or, with `is_pale`, cream with a touch of it."""
    hue = pick_color(rng, _HUE_CODES)
    return hue * 0.25 + 0.62 * hex_to_linear_rgb("fbf6ec") if is_pale else hue


def mix_colors(amount: Array, start_color: Array, end_color: Array) -> Array:
    """Interpolate between two colors.

    Args:
        amount: [S, S] in [0, 1].
        start_color: color at 0, [3] or [S, S, 3].
        end_color: color at 1, [3] or [S, S, 3].

    Returns:
        [S, S, 3].
    """
    mixed_colors: Array = start_color + (end_color - start_color) * amount[..., None]
    return mixed_colors


def transpose_at_random(rng: np.random.Generator, background: Background) -> Background:
    """Return the background, transposed with probability one half."""
    if rng.random() < 0.5:
        return background
    albedo, relief = background.albedo.transpose(1, 0, 2), background.relief.T
    return Background(np.ascontiguousarray(albedo), np.ascontiguousarray(relief), background.gloss)
