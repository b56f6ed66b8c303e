"""The objects of the sample sets: six things a child knows, each built afresh from a palette and random numbers.

Each function returns its surfaces; `POSES` says from where each is looked at. Form, proportions and pattern vary,
and every class wears every palette, so that neither colour nor pattern tells the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftlab.data.surfaces import Array, Paint, Surface, ball, bands, between, colour, dots, plain, revolve, spline, tube

Palette = tuple[Array, Array, Array]
"""Main colour, second colour, light colour."""

PALETTES: tuple[Palette, ...] = tuple(
    (colour(a), colour(b), colour(c))
    for a, b, c in (
        ("d62839", "f4a259", "fff4e6"),
        ("1d6fb8", "f2c14e", "f3f7fb"),
        ("2a9d62", "f1e3a0", "fbfaf2"),
        ("f2b21b", "d9482b", "fff8e1"),
        ("7b3fa0", "f28ab2", "f8effa"),
        ("e8618c", "7fd1c7", "fff3f6"),
        ("1f9aa8", "f26b4e", "f0fbfb"),
        ("ee7623", "27476e", "fff3e8"),
        ("24365e", "e94f64", "eef1f8"),
        ("8bbf3f", "3b6b35", "f7fbea"),
        ("a8472e", "e8c99b", "fbf3ea"),
        ("4c5bd4", "8fd3ff", "f1f3ff"),
        ("c93a8f", "ffd23f", "fff0f8"),
        ("3c3f46", "c9ced6", "f6f6f4"),
        ("9cd3e6", "ef8354", "ffffff"),
        ("e9dcc3", "b5533c", "ffffff"),
    )
)

_WOOD = colour("8a5a33")
_STRAW = colour("c79a5b")
_BLACK = colour("17171a")


@dataclass(frozen=True)
class Pose:
    """From where an object is looked at: ranges in degrees.

    Attributes:
        yaw: turn about the upright axis; half of the pictures show the other side (half a turn more).
        pitch: positive from above.
        roll: lean within the picture.
    """

    yaw: tuple[float, float]
    pitch: tuple[float, float]
    roll: tuple[float, float] = (-28, 28)


def mug(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A mug with a handle and something to drink."""
    main, second, light = palette
    tall = rng.uniform(0.52, 0.72)
    foot, top = rng.uniform(0.46, 0.6), 0.62
    wall = spline(
        [(0, -tall), (foot - 0.05, -tall), (foot, -tall + 0.05), ((foot + top) / 2 + rng.uniform(-0.03, 0.05), 0)]
        + [(top, tall - 0.04), (top - 0.02, tall), (top - 0.06, tall - 0.01)],
        28,
    )
    inside = spline([(top - 0.055, tall - 0.01), (top - 0.09, 0), (foot - 0.1, -tall + 0.1)], 10)
    level = tall - rng.uniform(0.12, 0.3)
    drink = colour(str(rng.choice(["3b1f12", "7a4a25", "b5651d", "f0e6d8", "5c2a1c", "9fb541"])))
    reach, drop = rng.uniform(0.38, 0.5), rng.uniform(0.26, 0.36)
    handle = spline(
        [(top - 0.08, drop, 0), (top + reach * 0.6, drop + 0.06, 0), (top + reach, 0, 0)]
        + [(top + reach * 0.55, -drop, 0), (foot - 0.02, -drop - 0.06, 0)],
        22,
    )
    lining = light if rng.random() < 0.6 else second
    coat = _coat(rng, palette, wall)
    disc = np.array([(top - 0.075 - 0.04 * i, level) for i in range(14)] + [(0, level)], np.float32)
    return [
        revolve(wall, coat, 0.8),
        revolve(inside, plain(lining), 0.5, solid=False),
        revolve(disc, plain(drink), 0.9, solid=False),
        tube(handle, 0.075, plain(main if rng.random() < 0.6 else second), 0.8, sides=14),
    ]


def mushroom(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A mushroom with a spotted cap, gills and a stout stem."""
    main, _, light = palette
    wide, high = rng.uniform(0.78, 0.98), rng.uniform(0.42, 0.72)
    cap = spline(
        [(wide * 0.93, -0.03), (wide, 0.03), (wide * 0.86, high * 0.55), (wide * 0.45, high * 0.93), (0, high)], 24
    )
    gills = spline([(0.12, 0.1), (wide * 0.5, 0.06), (wide * 0.94, -0.03)], 8)
    thick, foot = rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.42)
    long = rng.uniform(0.65, 0.9)
    stem = spline(
        [(0, -long), (foot * 0.8, -long + 0.03), (foot, -long + 0.14), (thick, -long * 0.45), (thick, 0.12)], 20
    )
    count = int(rng.integers(14, 26))
    turn, rise = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.05, 1, count) ** 0.7
    place = cap[np.clip((rise * 20).astype(int) + 3, 0, 23)]
    centres = np.stack([place[:, 0] * np.cos(turn), place[:, 1], place[:, 0] * np.sin(turn)], axis=1)
    spots = dots(main, light, centres.astype(np.float32), rng.uniform(0.06, 0.15, count).astype(np.float32))
    cream = light * np.array([1, 0.93, 0.8], np.float32)

    def lamellae(u: Array, v: Array, p: Array) -> Array:
        return cream * (0.62 + 0.3 * np.sin(u * 2 * np.pi * 44))[:, None]

    def skin(u: Array, v: Array, p: Array) -> Array:
        return cream * (0.86 + 0.09 * np.sin(u * 61 + np.sin(v * 9)))[:, None]

    return [
        revolve(cap, spots, 0.6),
        revolve(gills, lamellae, 0.05, solid=False),
        revolve(stem, skin, 0.15),
    ]


def umbrella(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """An open umbrella: eight scalloped panels, a stick and a crook."""
    main, second, light = palette
    deep, panels = rng.uniform(0.55, 0.8), 8
    out = np.linspace(0.004, 1, 15, dtype=np.float32)[::-1, None]
    angle = np.linspace(0, 2 * np.pi, panels * 8 + 1, dtype=np.float32)[None]
    sag = 1 - np.abs(np.sin(angle * panels / 2))
    slack = 1 - 0.075 * out**2 * (1 - sag) ** 0.7
    radius = np.sin(out * 1.32) / np.sin(1.32) * slack
    height = deep * (np.cos(out * 1.45) + 0.07 * out**3 * (1 - sag))
    canopy = np.stack([radius * np.cos(angle), height, -radius * np.sin(angle)], axis=-1).astype(np.float32)
    tints = [[main, second], [main, light], [main], [main, main, second, light]][int(rng.integers(4))]
    panel = bands(tints, panels)
    hem = second if rng.random() < 0.5 else main * 0.7

    def cloth(u: Array, v: Array, p: Array) -> Array:
        seam = np.abs((u * panels + 0.5) % 1 - 0.5)[:, None] < 0.018
        return np.where(seam, main * 0.45, np.where(between(v, 0, 0.07), hem, panel(u, v, p)))

    end = -rng.uniform(0.8, 1.0)
    stick = np.linspace((0, end, 0), (0, deep + 0.14, 0), 26, dtype=np.float32)
    bend = np.linspace(0, np.pi * 1.1, 14, dtype=np.float32)
    crook = np.stack([0.13 - 0.13 * np.cos(bend), end - 0.14 * np.sin(bend), 0 * bend], axis=1)
    grip = np.concatenate([np.linspace((0, end + 0.26, 0), (0, end + 0.02, 0), 6, dtype=np.float32), crook])
    return [
        Surface(canopy, cloth, 0.25, solid=False),
        tube(stick, 0.028, plain(colour("b9bcc2")), 0.8, sides=10),
        tube(grip, 0.055, plain(_WOOD if rng.random() < 0.5 else second), 0.6),
    ]


def balloon(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A hot-air balloon: a gored envelope over a basket."""
    main, second, light = palette
    wide, mouth = rng.uniform(0.7, 0.8), rng.uniform(0.16, 0.24)
    gores = int(rng.choice([12, 16]))
    envelope = spline(
        [(mouth, -0.5), (wide * 0.55, -0.2), (wide * 0.93, 0.15), (wide, 0.45), (wide * 0.72, 0.86), (0, 1.05)], 28
    )
    skin = revolve(envelope, plain(main), sides=gores * 4)
    turn = np.linspace(0, gores * np.pi, gores * 4 + 1, dtype=np.float32)
    bulge = 1 + 0.035 * np.abs(np.sin(turn))
    points = skin.points * np.stack([bulge, np.ones_like(bulge), bulge], axis=-1)
    tints = [[main, second], [main, light], [main, second, light, second], [main, light, second]][int(rng.integers(4))]
    stripes = [
        bands(tints, gores if gores % len(tints) == 0 else 12),
        bands(tints, rng.integers(5, 8), rows=True),
        bands(tints, rng.integers(4, 7), rows=True, wave=0.28, teeth=gores),
    ][int(rng.integers(3))]
    low = -rng.uniform(0.98, 1.12)
    side = rng.uniform(0.15, 0.19)
    basket = spline([(0, low), (side * 0.85, low), (side * 0.92, low + 0.03), (side, low + 0.24)], 12)

    def wicker(u: Array, v: Array, p: Array) -> Array:
        weave = np.sin(p[:, 1] * 110) * np.sign(np.sin(u * 2 * np.pi * 14))
        return np.where(between(v, 0.9, 1.1), _WOOD, _STRAW * (0.75 + 0.25 * weave)[:, None])

    ropes = [
        tube(
            np.linspace(
                (side * 0.9 * np.cos(a), low + 0.22, side * 0.9 * np.sin(a)),
                (mouth * np.cos(a), -0.48, mouth * np.sin(a)),
                6,
                dtype=np.float32,
            ),
            0.012,
            plain(_WOOD),
            sides=6,
        )
        for a in np.arange(4) * np.pi / 2 + 0.5
    ]
    return [Surface(points.astype(np.float32), stripes, 0.35), revolve(basket, wicker, 0.1, sides=28), *ropes]


def sailboat(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A sailing boat: hull, deck, mast, boom, mainsail and jib, with a flag."""
    main, second, light = palette
    s = np.linspace(-1, 1, 30, dtype=np.float32)[:, None]
    t = np.linspace(0, np.pi, 17, dtype=np.float32)[None]
    beam = rng.uniform(0.24, 0.32) * (1 - np.clip(s, 0, 1) ** 2.2) * (1 - 0.25 * np.clip(-s, 0, 1) ** 3)
    sheer = -0.42 + 0.14 * s**2 + 0.05 * s
    keel = rng.uniform(0.34, 0.44) * (1 - 0.75 * np.abs(s) ** 3)
    x = s * 0.88 + 0.02
    hull = np.stack([x - 0.08 * s * np.sin(t), sheer - keel * np.sin(t), beam * np.cos(t)], axis=-1)
    stripe, paint = (light, main) if rng.random() < 0.5 else (second, main)

    def planks(u: Array, v: Array, p: Array) -> Array:
        rim = np.minimum(u, 1 - u)
        low = np.where(between(rim, 0.3, 1), second if stripe is light else light, paint)
        return np.where(between(rim, 0.045, 0.11), stripe, low)

    across = np.linspace(-1, 1, 5, dtype=np.float32)[None]
    deck = np.stack([x + 0 * across, sheer + 0.02 * (1 - across**2) - 0.03, beam * across], axis=-1)
    back = np.stack([hull[0] * (1 - k) + hull[0].mean(axis=0) * k for k in (0, 0.5, 1)])
    foot, peak, step = -0.26, rng.uniform(0.95, 1.08), rng.uniform(-0.02, 0.14)
    mast = np.linspace((step, -0.45, 0), (step, peak, 0), 24, dtype=np.float32)
    boom = np.linspace((step, foot, 0), (-0.74, foot - 0.02, 0.09), 12, dtype=np.float32)
    full = float(rng.choice([-1, 1])) * rng.uniform(0.1, 0.2)
    mainsail = _sail((step - 0.02, foot + 0.03), (-0.72, foot + 0.01), (step - 0.02, peak - 0.05), full)
    jib = _sail((step + 0.05, foot - 0.02), (0.82, -0.24), (step + 0.03, peak * 0.82), full)
    pattern: list[Paint] = [
        plain(light),
        bands([light, second], 7, rows=True),
        bands([main, light], 6, rows=True),
        plain(second),
        bands([light, light, light, main], 8, rows=True),
    ]
    flag = np.array(
        [
            [(step - 0.2 * k, peak - 0.01 - 0.11 * j * (1 - k * 0.6), 0.03 * np.sin(6 * k)) for k in (0, 0.5, 1)]
            for j in (0, 1)
        ],
        np.float32,
    )
    return [
        Surface(hull.astype(np.float32), planks, 0.7, solid=False),
        Surface(back.astype(np.float32), plain(paint * 0.8), 0.5, solid=False),
        Surface(deck.astype(np.float32), plain(_STRAW), 0.3, solid=False),
        tube(mast, 0.022, plain(_WOOD), 0.5, sides=8),
        tube(boom, 0.018, plain(_WOOD), 0.5, sides=8),
        Surface(mainsail, pattern[int(rng.integers(5))], 0.1, solid=False),
        Surface(jib, pattern[int(rng.integers(5))], 0.1, solid=False),
        Surface(flag, plain(main), 0.1, solid=False),
    ]


def fish(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A fish with scales or stripes, fins and round eyes."""
    main, second, light = palette
    high, thick = rng.uniform(0.42, 0.6), rng.uniform(0.24, 0.3)
    form = spline([(0.86, 0.02), (0.74, 0.42), (0.42, 0.9), (0.05, 1.0), (-0.3, 0.72), (-0.58, 0.3), (-0.7, 0.2)], 30)
    angle = np.linspace(0, 2 * np.pi, 37, dtype=np.float32)[None]
    along, size = form[:, :1], np.maximum(form[:, 1:], 0.01)
    body = np.stack([along + 0 * angle, high * size * np.sin(angle), thick * size * np.cos(angle)], axis=-1)
    kind, rows = int(rng.integers(4)), int(rng.integers(2, 5))
    start = rng.uniform(0.0, 0.2)

    def scales(u: Array, v: Array, p: Array) -> Array:
        x, y = p[:, 0] * 13, p[:, 1] * 13
        line = np.floor(y)
        rim = np.hypot((x + 0.5 * (line % 2)) % 1 - 0.5, (y - line) - 0.1)
        tint = np.where((rim > 0.55)[:, None], main * 0.62, main)
        stripe = ((0.62 - p[:, 0]) * rows + start) % 1
        if kind == 1:
            tint = np.where(between(stripe, 0, 0.4), light, main)
        if kind == 2:
            tint = np.where(between(stripe, 0, 0.5), second, tint)
        if kind == 3:
            tint = np.where((p[:, 1] > 0.08 * np.sin(p[:, 0] * 9))[:, None], tint, second)
        belly = np.clip(-p[:, 1:2] / high * 1.3 - 0.35, 0, 0.8)
        tint = tint * (1 - belly) + light * belly
        mouth = (np.abs(p[:, 1] + 0.05 - 0.5 * (p[:, 0] - 0.72) ** 2) < 0.011) & (p[:, 0] > 0.7)
        gill = np.abs(np.hypot(p[:, 0] - 0.62, p[:, 1] / 1.2) - 0.32) < 0.013
        gill &= p[:, 0] < 0.42
        return np.where((mouth | gill)[:, None], main * 0.35, tint)

    fin = second if rng.random() < 0.6 else main * 0.8

    def rays(u: Array, v: Array, p: Array) -> Array:
        return fin * (0.84 + 0.16 * np.sin(u * 2 * np.pi * 9))[:, None]

    tall = rng.uniform(0.2, 0.34)
    spread = rng.uniform(0.38, 0.52)
    tail = _fan(
        spline([(-0.66, 0.12), (-0.68, 0), (-0.66, -0.12)], 12),
        spline([(-1.12, spread), (-0.88, 0), (-1.1, -spread)], 12),
        0.05,
    )
    dorsal = _fan(
        spline([(0.36, high * 0.86), (0.0, high * 0.93), (-0.4, high * 0.5)], 12),
        spline([(0.2, high + tall * 0.7), (-0.15, high + tall), (-0.58, high * 0.7 + tall * 0.4)], 12),
        0.0,
    )
    anal = _fan(
        spline([(-0.02, -high * 0.92), (-0.2, -high * 0.78), (-0.42, -high * 0.46)], 10),
        spline([(-0.12, -high - tall * 0.6), (-0.36, -high - tall * 0.4), (-0.55, -high * 0.72)], 10),
        0.0,
    )
    sides = []
    for way in (-1, 1):
        flap = _fan(
            spline([(0.28, -0.02), (0.26, -0.09), (0.22, -0.16)], 10),
            spline([(-0.1, 0.02), (-0.14, -0.16), (0.02, -0.28)], 10),
            0.0,
        )
        flap[..., 2] = way * (thick * 0.97 + 0.12 * np.linspace(0, 1, flap.shape[0])[:, None])
        white = ball((0.56, high * 0.26, way * thick * 0.58), (0.1, 0.1, 0.06), plain(colour("fafafa")), 0.9)
        pupil = ball((0.58, high * 0.26, way * (thick * 0.58 + 0.035)), (0.055, 0.055, 0.04), plain(_BLACK), 1.0)
        sides += [Surface(flap, rays, 0.3, solid=False), white, pupil]
    fins = [Surface(grid, rays, 0.3, solid=False) for grid in (tail, dorsal, anal)]
    return [Surface(body.astype(np.float32), scales, 0.6, solid=False), *fins, *sides]


def _coat(rng: np.random.Generator, palette: Palette, wall: Array) -> Paint:
    main, second, light = palette
    kind = int(rng.integers(5))
    if kind == 0:
        return plain(main)
    if kind == 1:
        return bands([main, second if rng.random() < 0.5 else light], int(rng.integers(4, 9)) * 2)
    if kind == 2:
        low = rng.uniform(0.4, 0.55)
        return lambda u, v, p: np.where(between(v, low, low + 0.2), second, main)
    if kind == 3:
        return bands([main, light], int(rng.integers(7, 12)), rows=True)
    count = 40
    turn, height = rng.uniform(0, 2 * np.pi, count), rng.uniform(wall[:, 1].min(), wall[:, 1].max(), count)
    reach = np.interp(height, wall[6:-6, 1], wall[6:-6, 0])
    centres = np.stack([reach * np.cos(turn), height, reach * np.sin(turn)], axis=1).astype(np.float32)
    return dots(main, light, centres, rng.uniform(0.05, 0.1, count).astype(np.float32))


def _sail(tack: tuple[float, float], clew: tuple[float, float], head: tuple[float, float], full: float) -> Array:
    """A triangle of cloth [16, 12, 3] that the wind fills: rows from the foot to the head."""
    up = np.linspace(0, 0.995, 16, dtype=np.float32)[:, None, None]
    out = np.linspace(0, 1, 12, dtype=np.float32)[None, :, None]
    a, b, c = (np.array([*corner, 0], np.float32) for corner in (tack, clew, head))
    grid = (1 - up) * ((1 - out) * a + out * b) + up * c
    grid[..., 2] += (full * 4 * out * (1 - out) * (1 - up))[..., 0] + 0.09 * (out * (1 - up))[..., 0]
    return grid


def _fan(root: Array, rim: Array, bend: float) -> Array:
    """A fin [6, K, 3] between two curves [K, 2] in the upright plane, swung out of it by `bend`."""
    k = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None]
    flat = root[None] * (1 - k) + rim[None] * k
    return np.concatenate([flat, np.broadcast_to(bend * k**2, (*flat.shape[:2], 1))], axis=-1).astype(np.float32)


TOYS: dict[str, Callable[[np.random.Generator, Palette], list[Surface]]] = {
    "balloon": balloon,
    "fish": fish,
    "mug": mug,
    "mushroom": mushroom,
    "sailboat": sailboat,
    "umbrella": umbrella,
}

POSES: dict[str, Pose] = {
    "balloon": Pose((0, 180), (-22, 12)),
    "fish": Pose((-38, 38), (-18, 18)),
    "mug": Pose((-55, 55), (12, 38)),
    "mushroom": Pose((0, 180), (-16, 30)),
    "sailboat": Pose((-42, 42), (-4, 22)),
    "umbrella": Pose((0, 180), (-22, 24), (-40, 40)),
}
