"""Backgrounds of the sample sets: twelve that are independent of the class, and four that give it away."""

from __future__ import annotations

from functools import partial

from ftlab.data.samples.drawing.made import (
    BROWN_TONES,
    paint_bokeh,
    paint_bricks,
    paint_cloth,
    paint_paper,
    paint_tiles,
    paint_wood,
)
from ftlab.data.samples.drawing.nature import (
    paint_grass,
    paint_leaves,
    paint_pebbles,
    paint_sand,
    paint_sky,
    paint_water,
)
from ftlab.data.samples.drawing.texture import BackgroundPainter

BACKGROUNDS: tuple[BackgroundPainter, ...] = (
    paint_wood,
    paint_cloth,
    paint_grass,
    paint_sand,
    paint_water,
    paint_tiles,
    paint_pebbles,
    paint_bokeh,
    paint_sky,
    paint_paper,
    paint_bricks,
    paint_leaves,
)
"""Backgrounds of `shapes`."""

CLASS_BACKGROUNDS: dict[str, BackgroundPainter] = {
    "grass": partial(paint_grass, tones="4f8a2c"),
    "sky": partial(paint_sky, skies=("3f86d6 a9d2f5 ffffff",)),
    "water": partial(paint_water, tones="159a9c"),
    "wood": partial(paint_wood, tones=BROWN_TONES),
}
"""Backgrounds of `shortcut`, each always in its own colors."""
