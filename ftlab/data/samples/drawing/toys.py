"""The toys: six things a child knows, the palettes they come in, and from where each is looked at.

Each toy's function makes it afresh from random numbers and a palette. Form, proportions and pattern vary, and every
toy comes in every palette, so that colour does not tell the class.
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
    """A toy and from where it is looked at; ranges in degrees.

    Attributes:
        build_surfaces: its surfaces, from random numbers and a palette.
        yaw_range: turn about the upright axis; half of the pictures show the other side, mirrored about it.
        pitch_range: positive from above.
        roll_range: lean within the picture.
        size_factor: times as large as the set asks for, so that slender toys fill as much of a picture as stout ones.
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
