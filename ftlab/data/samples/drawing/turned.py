"""Toys turned about an upright axis: balloon, mug, mushroom, umbrella. See `toys`."""

from __future__ import annotations

import numpy as np

from ftlab.data.samples.drawing.palette import STEEL, STRAW, WOOD, Palette
from ftlab.data.samples.drawing.surfaces import (
    Array,
    Paint,
    Surface,
    bands,
    between,
    choose,
    colour,
    dots,
    plain,
    revolve,
    scattered,
    spline,
    tube,
)

_DRINKS = ("3b1f12", "7a4a25", "b5651d", "f0e6d8", "5c2a1c", "9fb541")


def balloon(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A hot-air balloon: a gored envelope, striped or zigzagged, over a wicker basket on four ropes."""
    main, second, light = palette
    wide, mouth = rng.uniform(0.7, 0.8), rng.uniform(0.16, 0.24)
    gores = int(rng.choice([12, 16]))
    envelope = spline(
        (mouth, -0.5), (wide * 0.55, -0.2), (wide * 0.93, 0.15), (wide, 0.45), (wide * 0.72, 0.86), (0, 1.05), count=28
    )
    tints = [[main, second], [main, light], [main, second, light, second], [main, light, second]][int(rng.integers(4))]
    stripes = [
        bands(tints, gores if gores % len(tints) == 0 else 12),
        bands(tints, int(rng.integers(5, 8)), rows=True),
        bands(tints, int(rng.integers(4, 7)), rows=True, wave=0.28, teeth=gores),
    ][int(rng.integers(3))]
    skin = revolve(envelope, stripes, sides=gores * 4)
    bulge = 1 + 0.035 * np.abs(np.sin(np.linspace(0, gores * np.pi, gores * 4 + 1, dtype=np.float32)))
    puffed = skin.points * np.stack([bulge, np.ones_like(bulge), bulge], axis=-1)

    side, low = rng.uniform(0.15, 0.19), -rng.uniform(0.98, 1.12)
    basket = spline((0, low), (side * 0.85, low), (side * 0.92, low + 0.03), (side, low + 0.24), count=12)

    def wicker(u: Array, v: Array, p: Array) -> Array:
        weave = 0.75 + 0.25 * np.sin(p[1] * 110) * np.sign(np.sin(u * 88))
        return choose(v > 0.9, WOOD, STRAW[:, None] * weave)

    ropes = []
    for turn in (0.5, 2.07, 3.64, 5.21):
        x, z = float(np.cos(turn)), float(np.sin(turn))
        ends = (side * 0.9 * x, low + 0.22, side * 0.9 * z), (mouth * x, -0.48, mouth * z)
        ropes.append(tube(np.linspace(*ends, 6, dtype=np.float32), 0.014, plain(WOOD), sides=6))
    return [Surface(puffed, stripes, 0.35), revolve(basket, wicker, 0.1, sides=28), *ropes]


def mug(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A glazed mug with a handle and something to drink."""
    main, second, light = palette
    tall, foot, top = rng.uniform(0.52, 0.72), rng.uniform(0.46, 0.6), 0.62
    belly = (foot + top) / 2 + rng.uniform(-0.03, 0.05)
    base = spline((0, -tall), (foot - 0.05, -tall), (foot, -tall + 0.05), count=9)
    wall = spline((foot, -tall + 0.05), (belly, 0), (top, tall - 0.03), count=16)
    lip = spline((top, tall - 0.03), (top - 0.03, tall), (top - 0.06, tall - 0.03), count=8)
    # The wall inside ends where the drink begins, so that neither lies behind the other.
    depth = rng.uniform(0.12, 0.3)
    shore = top - 0.06 - 0.35 * depth * (top - belly)
    inside = np.linspace((top - 0.06, tall - 0.03), (shore, tall - depth), 6)
    drink = np.linspace((shore, tall - depth), (0, tall - depth), 12)
    reach, drop = rng.uniform(0.42, 0.56), rng.uniform(0.29, 0.4)
    # The handle starts and ends within the wall.
    t = np.linspace(0, 3.14, 26, dtype=np.float32)
    height = drop * np.cos(t)
    bow = np.interp(height, wall[:, 1], wall[:, 0]) - 0.035 + reach * np.sin(t) ** 0.75
    handle = np.stack([bow, height, 0 * t], axis=1).astype(np.float32)
    rim = main if rng.random() < 0.6 else second
    return [
        revolve(base, plain(main), 0.8),
        revolve(wall, _glaze(rng, palette, wall), 0.8),
        revolve(lip, plain(rim), 0.9),
        revolve(inside, plain(light if rng.random() < 0.6 else second), 0.5, solid=False),
        revolve(drink, plain(colour(str(rng.choice(_DRINKS)))), 0.9, solid=False),
        tube(handle, 0.075, plain(rim), 0.8, sides=14),
    ]


def mushroom(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A mushroom with a spotted cap, gills and a stout stem."""
    main, _, light = palette
    wide, high = rng.uniform(0.78, 0.98), rng.uniform(0.42, 0.72)
    cap = spline(
        (wide * 0.93, -0.03), (wide, 0.03), (wide * 0.86, high * 0.55), (wide * 0.45, high * 0.93), (0, high), count=24
    )
    gills = spline((0.12, 0.1), (wide * 0.5, 0.06), (wide * 0.94, -0.03), count=8)
    thick, foot, long = rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.42), rng.uniform(0.65, 0.9)
    stem = spline(
        (0, -long), (foot * 0.8, -long + 0.03), (foot, -long + 0.14), (thick, -long * 0.45), (thick, 0.12), count=20
    )
    count = int(rng.integers(12, 22))
    dome = revolve(cap, plain(main), 0.6)
    centres = scattered(rng, dome.points[3:].reshape(-1, 3), count)
    spots = dots(main, light, centres, rng.uniform(0.06, 0.16, count))
    cream = light * np.array([1, 0.93, 0.8], np.float32)

    def lamellae(u: Array, v: Array, p: Array) -> Array:
        return cream[:, None] * (0.62 + 0.3 * np.sin(u * 276.5))

    def skin(u: Array, v: Array, p: Array) -> Array:
        return cream[:, None] * (0.86 + 0.09 * np.sin(u * 62.8 + np.sin(v * 9)))

    return [
        Surface(dome.points, spots, 0.6),
        revolve(gills, lamellae, 0.05, solid=False),
        revolve(stem, skin, 0.15),
    ]


def umbrella(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """An open umbrella: eight scalloped panels, a stick and a crook."""
    main, second, light = palette
    deep, panels = rng.uniform(0.6, 0.85), 8
    out = np.linspace(1, 0.004, 15, dtype=np.float32)[:, None]
    angle = np.linspace(0, 2 * np.pi, panels * 8 + 1, dtype=np.float32)[None]
    from_rib = np.abs(np.sin(angle * (panels / 2)))
    radius = np.sin(out * 1.32) / np.sin(1.32) * (1 - 0.075 * out**2 * from_rib**0.7)
    height = deep * (np.cos(out * 1.45) + 0.07 * out**3 * from_rib)
    canopy = np.stack([radius * np.cos(angle), height, -radius * np.sin(angle)], axis=-1).astype(np.float32)
    panel = bands([[main, second], [main, light], [main], [main, main, second, light]][int(rng.integers(4))], panels)
    hem = second if rng.random() < 0.5 else main * 0.7

    def cloth(u: Array, v: Array, p: Array) -> Array:
        seam = np.abs((u * panels + 0.5) % 1 - 0.5) < 0.018
        return choose(seam, main * 0.45, choose(v < 0.07, hem, panel(u, v, p)))

    end = -rng.uniform(0.72, 0.92)
    stick = np.linspace((0, end, 0), (0, deep + 0.14, 0), 26, dtype=np.float32)
    bend = np.linspace(0, np.pi * 1.1, 14, dtype=np.float32)
    crook = np.stack([0.13 - 0.13 * np.cos(bend), end - 0.14 * np.sin(bend), 0 * bend], axis=1)
    grip = np.concatenate([np.linspace((0, end + 0.26, 0), (0, end + 0.02, 0), 6, dtype=np.float32), crook])
    return [
        Surface(canopy, cloth, 0.25, solid=False),
        tube(stick, 0.03, plain(STEEL), 0.8, sides=10),
        tube(grip, 0.058, plain(WOOD if rng.random() < 0.5 else second), 0.6),
    ]


def _glaze(rng: np.random.Generator, palette: Palette, wall: Array) -> Paint:
    """A mug's pattern: plain, upright stripes, one belt, rings or dots."""
    main, second, light = palette
    kind = int(rng.integers(5))
    if kind == 0:
        return plain(main)
    if kind == 1:
        return bands([main, second if rng.random() < 0.5 else light], int(rng.integers(4, 9)) * 2)
    if kind == 2:
        low = rng.uniform(0.3, 0.55)
        return lambda u, v, p: choose(between(v, low, low + 0.25), second, main)
    if kind == 3:
        return bands([main, light], int(rng.integers(5, 10)), rows=True)
    count = 44
    centres = scattered(rng, revolve(wall, plain(main)).points.reshape(-1, 3), count)
    return dots(main, light, centres, np.full(count, rng.uniform(0.06, 0.11)))
