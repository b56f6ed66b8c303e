"""Toys built of hulls and sheets: fish and sailing boat. See `toys`."""

from __future__ import annotations

import numpy as np

from ftlab.data.samples.drawing.palette import BLACK, STRAW, WHITE, WOOD, Palette
from ftlab.data.samples.drawing.surfaces import Array, Paint, Surface, ball, bands, between, choose, plain, spline, tube


def fish(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A fish with scales or stripes, fins and round eyes; it looks along x."""
    main, second, _ = palette
    high, thick = rng.uniform(0.42, 0.6), rng.uniform(0.24, 0.3)
    form = spline(
        (0.86, 0.02), (0.74, 0.42), (0.42, 0.9), (0.05, 1.0), (-0.3, 0.72), (-0.58, 0.3), (-0.7, 0.2), count=30
    )
    angle = np.linspace(0, 2 * np.pi, 37, dtype=np.float32)[None]
    along, size = form[:, :1], np.maximum(form[:, 1:], 0.01)
    body = np.stack([along + 0 * angle, high * size * np.sin(angle), thick * size * np.cos(angle)], axis=-1)
    tint = second if rng.random() < 0.6 else main * 0.8

    def rays(u: Array, v: Array, p: Array) -> Array:
        return tint[:, None] * (0.84 + 0.16 * np.sin(u * 56.5))

    tall, spread = rng.uniform(0.2, 0.34), rng.uniform(0.38, 0.52)
    tail = _fan([(-0.66, 0.12), (-0.68, 0), (-0.66, -0.12)], [(-1.12, spread), (-0.88, 0), (-1.1, -spread)])
    tail[..., 2] = 0.05 * np.linspace(0, 1, len(tail))[:, None] ** 2
    back = _fan(
        [(0.36, high * 0.86), (0.0, high * 0.93), (-0.4, high * 0.5)],
        [(0.2, high + tall * 0.7), (-0.15, high + tall), (-0.58, high * 0.7 + tall * 0.4)],
    )
    below = _fan(
        [(-0.02, -high * 0.92), (-0.2, -high * 0.78), (-0.42, -high * 0.46)],
        [(-0.12, -high - tall * 0.6), (-0.36, -high - tall * 0.4), (-0.55, -high * 0.72)],
    )
    parts = [Surface(body.astype(np.float32), _scales(rng, palette, high), 0.6, solid=False)]
    parts += [Surface(fin, rays, 0.3, solid=False) for fin in (tail, back, below)]
    for way in (-1, 1):
        flap = _fan([(0.28, -0.02), (0.26, -0.09), (0.22, -0.16)], [(-0.1, 0.02), (-0.14, -0.16), (0.02, -0.28)])
        flap[..., 2] = way * (thick * 0.97 + 0.12 * np.linspace(0, 1, len(flap))[:, None])
        eye = (0.56, high * 0.26, way * thick * 0.58)
        pupil = (0.58, high * 0.26, way * (thick * 0.58 + 0.035))
        parts.append(Surface(flap, rays, 0.3, solid=False))
        parts.append(ball(eye, (0.1, 0.1, 0.06), plain(WHITE), 0.9))
        parts.append(ball(pupil, (0.055, 0.055, 0.04), plain(BLACK), 1.0))
    return parts


def sailboat(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """A sailing boat: hull, deck, mast, boom, mainsail and jib, with a flag; its bow points along x."""
    main, second, light = palette
    s = np.linspace(-1, 1, 30, dtype=np.float32)[:, None]
    t = np.linspace(0, np.pi, 17, dtype=np.float32)[None]
    beam = rng.uniform(0.24, 0.32) * (1 - np.clip(s, 0, 1) ** 2.2) * (1 - 0.25 * np.clip(-s, 0, 1) ** 3)
    sheer = -0.42 + 0.14 * s**2 + 0.05 * s
    keel = rng.uniform(0.34, 0.44) * (1 - 0.75 * np.abs(s) ** 3)
    x = s * 0.88 + 0.02
    hull = np.stack([x - 0.08 * s * np.sin(t), sheer - keel * np.sin(t), beam * np.cos(t)], axis=-1)
    across = np.linspace(-1, 1, 5, dtype=np.float32)[None]
    deck = np.stack([x + 0 * across, sheer + 0.02 * (1 - across**2) - 0.03, beam * across], axis=-1)
    stern = np.stack([hull[0] * (1 - k) + hull[0].mean(axis=0) * k for k in (0, 0.5, 1)])
    stripe, bottom = (light, second) if rng.random() < 0.5 else (second, light)

    def planks(u: Array, v: Array, p: Array) -> Array:
        down = np.minimum(u, 1 - u)
        return choose(between(down, 0.045, 0.11), stripe, choose(down > 0.3, bottom, main))

    foot, peak, step = -0.26, rng.uniform(0.95, 1.08), rng.uniform(-0.02, 0.14)
    mast = np.linspace((step, -0.45, 0), (step, peak, 0), 24, dtype=np.float32)
    boom = np.linspace((step, foot, 0), (-0.74, foot - 0.02, 0.09), 12, dtype=np.float32)
    wind = float(rng.choice([-1, 1])) * rng.uniform(0.1, 0.2)
    mainsail = _sail((step - 0.02, foot + 0.03), (-0.72, foot + 0.01), (step - 0.02, peak - 0.05), wind)
    jib = _sail((step + 0.05, foot - 0.02), (0.82, -0.24), (step + 0.03, peak * 0.82), wind)
    cloths: list[Paint] = [
        plain(light),
        bands([light, second], 7, rows=True),
        bands([main, light], 6, rows=True),
        plain(second),
        bands([light, light, light, main], 8, rows=True),
    ]
    k = np.linspace(0, 1, 5, dtype=np.float32)
    edges = [
        np.stack([step - 0.2 * k, peak - 0.01 - j * 0.11 * (1 - 0.6 * k), 0.03 * np.sin(6 * k)], 1) for j in (0, 1)
    ]
    return [
        Surface(hull.astype(np.float32), planks, 0.7, solid=False),
        Surface(stern.astype(np.float32), plain(main * 0.8), 0.5, solid=False),
        Surface(deck.astype(np.float32), plain(STRAW), 0.3, solid=False),
        tube(mast, 0.024, plain(WOOD), 0.5, sides=8),
        tube(boom, 0.02, plain(WOOD), 0.5, sides=8),
        Surface(mainsail, cloths[int(rng.integers(5))], 0.1, solid=False),
        Surface(jib, cloths[int(rng.integers(5))], 0.1, solid=False),
        Surface(np.stack(edges), plain(main), 0.1, solid=False),
    ]


def _scales(rng: np.random.Generator, palette: Palette, high: float) -> Paint:
    """A fish's skin: scales under nothing, narrow or wide stripes, or a dark back; with mouth, gill and pale belly."""
    main, second, light = palette
    kind, count, start = int(rng.integers(4)), int(rng.integers(2, 5)), rng.uniform(0.0, 0.2)

    def paint(u: Array, v: Array, p: Array) -> Array:
        x, y = p[0], p[1]
        line = np.floor(y * 13)
        rim = np.hypot((x * 13 + 0.5 * (line % 2)) % 1 - 0.5, y * 13 - line - 0.1)
        tint = choose(rim > 0.55, main * 0.62, main)
        stripe = ((0.62 - x) * count + start) % 1
        if kind == 1:
            tint = choose(stripe < 0.4, light, main)
        if kind == 2:
            tint = choose(stripe < 0.5, second, tint)
        if kind == 3:
            tint = choose(y > 0.08 * np.sin(x * 9), tint, second)
        belly = np.clip(-y / high * 1.3 - 0.35, 0, 0.8)
        tint = tint * (1 - belly) + light[:, None] * belly
        mouth = (np.abs(y + 0.05 - 0.5 * (x - 0.72) ** 2) < 0.011) & (x > 0.7)
        gill = (np.abs(np.hypot(x - 0.62, y / 1.2) - 0.32) < 0.013) & (x < 0.42)
        return choose(mouth | gill, main * 0.35, tint)

    return paint


def _sail(tack: tuple[float, float], clew: tuple[float, float], head: tuple[float, float], full: float) -> Array:
    """A triangle of cloth [16, 12, 3], swung out and filled by the wind: rows from the foot to the head."""
    up = np.linspace(0, 0.995, 16, dtype=np.float32)[:, None]
    out = np.linspace(0, 1, 12, dtype=np.float32)[None]
    flat = [(1 - up) * ((1 - out) * a + out * b) + up * c for a, b, c in zip(tack, clew, head, strict=True)]
    return np.stack([*flat, (full * 4 * out * (1 - out) + 0.09 * out) * (1 - up)], axis=-1).astype(np.float32)


def _fan(root: list[tuple[float, float]], rim: list[tuple[float, float]]) -> Array:
    """A fin [6, 12, 3] between two curves in the upright plane."""
    k = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None]
    flat = spline(*root, count=12)[None] * (1 - k) + spline(*rim, count=12)[None] * k
    return np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1)
