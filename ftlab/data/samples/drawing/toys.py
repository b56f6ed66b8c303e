"""The toys: six everyday objects, and the range of views of each.

Each toy's function builds it anew from random numbers and a palette. Shape, proportions and pattern vary, and every toy
comes in every palette, so that color does not tell the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftlab.data.samples.drawing.built import build_fish, build_sailboat
from ftlab.data.samples.drawing.palette import Palette
from ftlab.data.samples.drawing.surfaces import Surface
from ftlab.data.samples.drawing.turned import build_balloon, build_mug, build_mushroom, build_umbrella


@dataclass(frozen=True)
class Toy:
    """A toy and its range of views; angles in degrees.

    Attributes:
        build_surfaces: returns its surfaces, from random numbers and a palette.
        yaw_range: rotation about the vertical axis; half of the images show it mirrored to the other side.
        pitch_range: positive is seen from above.
        roll_range: rotation in the image plane.
        size_factor: on the size that the set asks for, so that slender toys fill as much of an image as stout ones.
    """

    build_surfaces: Callable[[np.random.Generator, Palette], list[Surface]]
    yaw_range: tuple[float, float]
    pitch_range: tuple[float, float]
    roll_range: tuple[float, float]
    size_factor: float = 1.0


TOYS: dict[str, Toy] = {
    "balloon": Toy(build_balloon, (0, 180), (-24, 14), (-45, 45)),
    "fish": Toy(build_fish, (-38, 38), (-20, 20), (-45, 45)),
    "mug": Toy(build_mug, (-60, 30), (10, 40), (-40, 40), 0.95),
    "mushroom": Toy(build_mushroom, (0, 180), (-18, 28), (-45, 45)),
    "sailboat": Toy(build_sailboat, (-42, 42), (-6, 24), (-40, 40), 1.05),
    "umbrella": Toy(build_umbrella, (0, 180), (-24, 26), (-60, 60), 1.15),
}
