"""The grounds: a dozen that mean nothing, and four that give the class away."""

from __future__ import annotations

from functools import partial

from ftlab.data.samples.drawing.made import BROWNS, bokeh, bricks, cloth, paper, tiles, wood
from ftlab.data.samples.drawing.nature import grass, leaves, pebbles, sand, sky, water
from ftlab.data.samples.drawing.texture import Maker

GROUNDS: tuple[Maker, ...] = (wood, cloth, grass, sand, water, tiles, pebbles, bokeh, sky, paper, bricks, leaves)

SETTINGS: dict[str, Maker] = {
    "grass": partial(grass, tones="4f8a2c"),
    "sky": partial(sky, skies=("3f86d6 a9d2f5 ffffff",)),
    "water": partial(water, tones="159a9c"),
    "wood": partial(wood, tones=BROWNS),
}
"""The four grounds of the shortcut, each always in its own colours."""
