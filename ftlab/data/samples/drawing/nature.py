"""Natural grounds: grass, sand, water, pebbles, leaves, sky. See `grounds`."""

from __future__ import annotations

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import colour
from ftlab.data.samples.drawing.texture import Ground, axes, fractal, mixed, pick, tint

_SKIES = (
    "2f74c0 9cc9ee ffffff",
    "5a9bd6 d6e9f5 ffffff",
    "54476f f0a07a ffd9b0",
    "7a8fa8 c9d2d9 f2f4f5",
    "20395e 6f8fb5 c7d3e6",
)
_LEAVES = ("b5541f d98c2b 8c3b1c c9a23a", "4c7a33 7fa048 2f5a34 a2b457", "8a3a3f c4643f e0a63f 6b2f2a")
_STONES = ("8d8a86", "b7ada0", "6f6a67", "cfc7ba", "9b8672", "767f87", "a99c8c")
# Polygons are drawn with four bits of fraction.
_FRACTION = 4


def grass(rng: np.random.Generator, side: int, tones: str = "4f8a2c 6ca03a 3d7434 95a24a 7f9440") -> Ground:
    """Blades of grass, green to dry."""
    tone = pick(rng, tones)
    picture = np.full((side, side, 3), tone * 0.22, np.float32)
    relief = np.zeros((side, side), np.float32)
    patch = fractal(rng, side, (3, 3), 3)
    count = 2300
    root = rng.uniform(-0.02, 1.02, (count, 2)) * side
    lean = rng.normal(-np.pi / 2, 0.75, count)
    way = np.stack([np.cos(lean), np.sin(lean)], axis=1)
    tip = root + way * rng.uniform(0.05, 0.12, (count, 1)) * side
    wide = way[:, ::-1] * (-1, 1) * rng.uniform(0.7, 1.7, (count, 1))
    bend = (root + tip) / 2 + rng.normal(0, 0.012, (count, 2)) * side
    blades = _fixed(np.stack([root - wide, bend - wide * 0.8, tip, bend + wide * 0.8, root + wide], axis=1))
    column, row = np.clip(root.astype(int), 0, side - 1).T
    light = rng.uniform(0.45, 1.35, count) * np.linspace(0.6, 1.1, count) * (0.65 + 0.7 * patch[row, column])
    tints = light[:, None] * tone * np.stack([rng.uniform(0.85, 1.35, count), np.ones(count), np.ones(count)], axis=1)
    heights = np.linspace(0, 6, count) + 2 * light
    for blade, hue, height in zip(blades, tints.tolist(), heights.tolist(), strict=True):
        cv2.fillPoly(picture, [blade], hue, cv2.LINE_8, _FRACTION)
        cv2.fillPoly(relief, [blade], height, cv2.LINE_8, _FRACTION)
    return Ground(cv2.GaussianBlur(picture, (0, 0), 0.6), cv2.GaussianBlur(relief, (0, 0), 0.8), 0.1)


def sand(rng: np.random.Generator, side: int) -> Ground:
    """Sand in ripples."""
    tone = pick(rng, "dcc08c e8d5ae c9a26a d8c6a8 b98f63 cfcabd")
    y, x = axes(side)
    warp = fractal(rng, side, (3, 3), 3)
    slant, pace = rng.uniform(-0.5, 0.5), rng.uniform(45, 80)
    ripple = np.sin((y + slant * x) * pace + warp * 14)
    speck = rng.random((side, side), dtype=np.float32)
    albedo = tone * (0.8 + 0.16 * fractal(rng, side, (6, 6), 3) + 0.16 * (speck - 0.5))[..., None]
    return Ground(albedo, 1.8 * ripple + 6 * warp + 0.5 * speck, 0.02)


def water(rng: np.random.Generator, side: int, tones: str = "1c7fa6 2aa3a8 2f6fb0 3b8f86 4d9fc4") -> Ground:
    """Clear water with a net of light on it."""
    tone = pick(rng, tones)
    cells = rng.uniform(4, 7)
    warp = fractal(rng, side, (cells, cells), 2)
    nets = [1 - np.abs(fractal(rng, side, (cells * 0.8, cells), 2) * 2 - 1) for _ in range(2)]
    net = np.maximum(*nets) ** 7 * (0.45 + 0.55 * warp)
    depth = 0.55 + 0.5 * fractal(rng, side, (2, 2), 2) + 0.15 * axes(side)[0]
    albedo = tone * depth[..., None] + net[..., None] * (0.55 * tone + 0.22)
    return Ground(albedo, 5 * warp + 2.5 * nets[0] + 4 * fractal(rng, side, (9, 5), 2), 0.7)


def pebbles(rng: np.random.Generator, side: int) -> Ground:
    """Rounded stones, close together: cells about jittered points (Worley, 1996)."""
    count = int(rng.integers(7, 13))
    size = side / count
    spots = (
        np.indices((count + 4, count + 4)).transpose(1, 2, 0) - 2 + rng.uniform(0.12, 0.88, (count + 4, count + 4, 2))
    )
    tints = np.stack([colour(code) for code in _STONES])[rng.integers(0, len(_STONES), (count + 4, count + 4))]
    tints *= rng.uniform(0.7, 1.1, (count + 4, count + 4, 1)).astype(np.float32) * tint(rng, light=True)
    half = (side + 1) // 2
    y, x = axes(half)
    y = y * count + (10 / size) * (fractal(rng, half, (8, 8), 2) - 0.5)
    x = x * count
    row, column = np.clip(np.floor(y).astype(int), 0, count - 1), x.astype(int)
    first = np.full((half, half), 9, np.float32)
    second, owner = first.copy(), np.zeros((half, half), int)
    for k in range(25):
        i, j = row + k // 5, column + k % 5
        spot = spots[i, j]
        far = np.hypot(y - spot[..., 0], x - spot[..., 1]).astype(np.float32)
        second = np.minimum(second, np.maximum(first, far))
        owner = np.where(far < first, i * (count + 4) + j, owner)
        first = np.minimum(first, far)
    edge = cv2.resize(second - first, (side, side), interpolation=cv2.INTER_CUBIC)
    face = cv2.resize(tints.reshape(-1, 3)[owner], (side, side), interpolation=cv2.INTER_LINEAR)
    dome = np.clip(edge / 0.75, 0, 1)
    albedo = face * ((0.75 + 0.4 * fractal(rng, side, (40, 40), 3)) * np.clip(0.15 + 2.2 * dome, 0, 1))[..., None]
    return Ground(albedo, size * 0.42 * np.sqrt(1 - (1 - dome) ** 2), 0.2)


def leaves(rng: np.random.Generator, side: int) -> Ground:
    """Fallen leaves, in autumn's colours or still green."""
    tints = [colour(code) for code in str(rng.choice(_LEAVES)).split()]
    picture = np.full((side, side, 3), tints[0] * 0.25, np.float32)
    relief = np.zeros((side, side), np.float32)
    t = np.linspace(-1, 1, 13)
    bulge = 0.42 * (1 - t**2) * (1 + 0.3 * t)
    halves = ((np.stack([t, bulge], axis=1), 1.0), (np.stack([t, -bulge], axis=1), 0.82))
    rib = np.array([[-1.15, 0], [0.95, 0]])
    for k in range(230):
        angle, long = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.06, 0.11)
        turn = long * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        place = rng.uniform(-0.05, 1.05, 2) * side
        hue = tints[int(rng.integers(len(tints)))] * rng.uniform(0.6, 1.25)
        for half, dim in halves:
            points = _fixed(half @ turn + place)
            cv2.fillPoly(picture, [points], (hue * dim).tolist(), cv2.LINE_8, _FRACTION)
            cv2.fillPoly(relief, [points], 4 + k / 12 + 2 * dim, cv2.LINE_8, _FRACTION)
        cv2.polylines(picture, [_fixed(rib @ turn + place)], False, (hue * 0.55).tolist(), 1, cv2.LINE_8, _FRACTION)
    return Ground(cv2.GaussianBlur(picture, (0, 0), 0.8), cv2.GaussianBlur(relief, (0, 0), 1.2) * 0.9, 0.1)


def sky(rng: np.random.Generator, side: int, skies: tuple[str, ...] = _SKIES) -> Ground:
    """Sky with clouds, at noon or at dusk."""
    high, low, white = (colour(code) for code in str(rng.choice(skies)).split())
    mass = fractal(rng, side, (rng.uniform(2.2, 4), rng.uniform(1.4, 2.6)), 6)
    cover = np.clip((mass - rng.uniform(0.46, 0.6)) * 4.5, 0, 1)
    cover = cover * cover * (3 - 2 * cover)
    above = np.vstack([mass[side // 26 :], mass[-(side // 26) :]])
    shade = np.clip(0.8 - 1.2 * (mass - above), 0.66, 1)
    albedo = mixed(cover, mixed(axes(side)[0], high, low), white * shade[..., None])
    return Ground(albedo, np.zeros((side, side), np.float32), far=True)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << _FRACTION)).astype(np.int32)
