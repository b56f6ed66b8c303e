"""What grounds are made with: noise, colours, and what a ground is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, colour

Maker = Callable[[np.random.Generator, int], "Ground"]
"""(random numbers, pixels of a side S) -> ground."""

_HUES = "c9574b d98a3d d9b64a 8fae4b 4f9a6b 3f9a9a 4b86b8 5a68b3 8a5fae b8608f 8a7a68 5d6670 a8704a"


@dataclass(frozen=True)
class Ground:
    """A background.

    Attributes:
        albedo: [S, S, 3] float32 linear RGB.
        relief: [S, S] float32 height in pixels; the light falls on its slopes.
        gloss: 0 (sand) to 1 (glazed).
        far: as far as the sky: no shadow falls on it.
    """

    albedo: Array
    relief: Array
    gloss: float = 0.05
    far: bool = False

    @property
    def mean(self) -> Array:
        """Mean colour, linear RGB [3]."""
        return np.array(cv2.mean(self.albedo)[:3], np.float32)


def fractal(rng: np.random.Generator, side: int, cells: tuple[float, float], octaves: int = 4) -> Array:
    """Smooth noise [side, side] float32 in [0, 1], mean about 0.5.

    Args:
        rng: where the numbers come from.
        side: pixels.
        cells: how many bumps of the coarsest octave fit down and across; each octave has twice as many, half as high.
        octaves: how many.
    """
    total = np.zeros((side, side), np.float32)
    for k in range(octaves):
        shape = [int(min(side, np.ceil(c * 2**k))) + 3 for c in cells]
        layer = rng.random(shape, dtype=np.float32)
        total += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**k)
    return np.clip((total / (2 - 2.0 ** (1 - octaves)) - 0.5) * 1.6 + 0.5, 0, 1)


def axes(side: int) -> tuple[Array, Array]:
    """Row and column of each pixel in [0, 1), two arrays [side, side] float32."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side)
    return y, x


def pick(rng: np.random.Generator, codes: str) -> Array:
    """One of the colours, a little brighter or darker."""
    return colour(str(rng.choice(codes.split()))) * rng.uniform(0.85, 1.1)


def tint(rng: np.random.Generator, *, light: bool = False) -> Array:
    """Any hue, or, `light`, a cream with a touch of it."""
    hue = pick(rng, _HUES)
    return hue * 0.25 + 0.62 * colour("fbf6ec") if light else hue


def mixed(amount: Array, no: Array, yes: Array) -> Array:
    """[S, S, 3]: from one colour to another by an amount [S, S] in [0, 1]."""
    return no + (yes - no) * amount[..., None]


def turned(rng: np.random.Generator, ground: Ground) -> Ground:
    """Half of the time turned by a quarter."""
    if rng.random() < 0.5:
        return ground
    albedo, relief = ground.albedo.transpose(1, 0, 2), ground.relief.T
    return Ground(np.ascontiguousarray(albedo), np.ascontiguousarray(relief), ground.gloss)
