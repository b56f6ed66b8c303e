"""Toys built of hulls and sheets: fish and sailboat. See `toys`."""

from __future__ import annotations

import numpy as np

from ftlab.data.samples.drawing.palette import BLACK, STRAW, WHITE, WOOD, Palette
from ftlab.data.samples.drawing.surfaces import (
    Array,
    Paint,
    Surface,
    band_paint,
    catmull_rom_spline,
    in_range,
    make_ellipsoid,
    plain_paint,
    select_color,
    sweep_tube,
)


def build_fish(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return a fish with scales or stripes, fins and round eyes; it looks along x."""
    main, second, _ = palette
    body_height, body_width = rng.uniform(0.42, 0.6), rng.uniform(0.24, 0.3)
    # Outline of the body from mouth to tail: position along x, and half the height.
    profile = catmull_rom_spline(
        (0.86, 0.02), (0.74, 0.42), (0.42, 0.9), (0.05, 1.0), (-0.3, 0.72), (-0.58, 0.3), (-0.7, 0.2), count=30
    )
    angle = np.linspace(0, 2 * np.pi, 37, dtype=np.float32)[None]
    x_positions, profile_radius = profile[:, :1], np.maximum(profile[:, 1:], 0.01)
    body = np.stack(
        [
            x_positions + 0 * angle,
            body_height * profile_radius * np.sin(angle),
            body_width * profile_radius * np.cos(angle),
        ],
        axis=-1,
    )
    tint = second if rng.random() < 0.6 else main * 0.8

    def paint_rays(u: Array, _v: Array, _p: Array) -> Array:
        return tint[:, None] * (0.84 + 0.16 * np.sin(u * 56.5))

    fin_height, tail_spread = rng.uniform(0.2, 0.34), rng.uniform(0.38, 0.52)
    tail = _make_fin(
        [(-0.66, 0.12), (-0.68, 0), (-0.66, -0.12)], [(-1.12, tail_spread), (-0.88, 0), (-1.1, -tail_spread)]
    )
    # Bent a little to the side, so that it is not flat.
    tail[..., 2] = 0.05 * np.linspace(0, 1, len(tail))[:, None] ** 2
    dorsal_fin = _make_fin(
        [(0.36, body_height * 0.86), (0.0, body_height * 0.93), (-0.4, body_height * 0.5)],
        [
            (0.2, body_height + fin_height * 0.7),
            (-0.15, body_height + fin_height),
            (-0.58, body_height * 0.7 + fin_height * 0.4),
        ],
    )
    anal_fin = _make_fin(
        [(-0.02, -body_height * 0.92), (-0.2, -body_height * 0.78), (-0.42, -body_height * 0.46)],
        [
            (-0.12, -body_height - fin_height * 0.6),
            (-0.36, -body_height - fin_height * 0.4),
            (-0.55, -body_height * 0.72),
        ],
    )
    parts = [Surface(body.astype(np.float32), _fish_skin_paint(rng, palette, body_height), 0.6, is_closed=False)]
    parts += [Surface(fin, paint_rays, 0.3, is_closed=False) for fin in (tail, dorsal_fin, anal_fin)]
    for side_sign in (-1, 1):
        side_fin = _make_fin(
            [(0.28, -0.02), (0.26, -0.09), (0.22, -0.16)], [(-0.1, 0.02), (-0.14, -0.16), (0.02, -0.28)]
        )
        side_fin[..., 2] = side_sign * (body_width * 0.97 + 0.12 * np.linspace(0, 1, len(side_fin))[:, None])
        eye = (0.56, body_height * 0.26, side_sign * body_width * 0.58)
        pupil = (0.58, body_height * 0.26, side_sign * (body_width * 0.58 + 0.035))
        parts.append(Surface(side_fin, paint_rays, 0.3, is_closed=False))
        parts.append(make_ellipsoid(eye, (0.1, 0.1, 0.06), plain_paint(WHITE), 0.9))
        parts.append(make_ellipsoid(pupil, (0.055, 0.055, 0.04), plain_paint(BLACK), 1.0))
    return parts


def build_sailboat(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return a sailboat: hull, deck, mast, boom, mainsail, jib and flag; its bow points along x."""
    main, second, light = palette
    s = np.linspace(-1, 1, 30, dtype=np.float32)[:, None]
    t = np.linspace(0, np.pi, 17, dtype=np.float32)[None]
    # Half the width of the hull: pointed at the bow, slightly narrower at the stern.
    beam = rng.uniform(0.24, 0.32) * (1 - np.clip(s, 0, 1) ** 2.2) * (1 - 0.25 * np.clip(-s, 0, 1) ** 3)
    sheer = -0.42 + 0.14 * s**2 + 0.05 * s
    keel = rng.uniform(0.34, 0.44) * (1 - 0.75 * np.abs(s) ** 3)
    x = s * 0.88 + 0.02
    hull = np.stack([x - 0.08 * s * np.sin(t), sheer - keel * np.sin(t), beam * np.cos(t)], axis=-1)
    across = np.linspace(-1, 1, 5, dtype=np.float32)[None]
    deck = np.stack([x + 0 * across, sheer + 0.02 * (1 - across**2) - 0.03, beam * across], axis=-1)
    stern = np.stack([hull[0] * (1 - k) + hull[0].mean(axis=0) * k for k in (0, 0.5, 1)])
    stripe, bottom = (light, second) if rng.random() < 0.5 else (second, light)

    def paint_planks(u: Array, _v: Array, _p: Array) -> Array:
        down = np.minimum(u, 1 - u)
        return select_color(in_range(down, 0.045, 0.11), stripe, select_color(down > 0.3, bottom, main))

    foot, peak, step = -0.26, rng.uniform(0.95, 1.08), rng.uniform(-0.02, 0.14)
    mast = np.linspace((step, -0.45, 0), (step, peak, 0), 24, dtype=np.float32)
    boom = np.linspace((step, foot, 0), (-0.74, foot - 0.02, 0.09), 12, dtype=np.float32)
    wind = float(rng.choice([-1, 1])) * rng.uniform(0.1, 0.2)
    mainsail = _make_sail((step - 0.02, foot + 0.03), (-0.72, foot + 0.01), (step - 0.02, peak - 0.05), wind)
    jib = _make_sail((step + 0.05, foot - 0.02), (0.82, -0.24), (step + 0.03, peak * 0.82), wind)
    # No sail is of the hull's main color alone, so that it stands out from the hull.
    cloths: list[Paint] = [
        plain_paint(light),
        band_paint([light, second], 7, rows=True),
        band_paint([main, light], 6, rows=True),
        plain_paint(second),
        band_paint([light, light, light, main], 8, rows=True),
    ]
    k = np.linspace(0, 1, 5, dtype=np.float32)
    edges = [
        np.stack([step - 0.2 * k, peak - 0.01 - j * 0.11 * (1 - 0.6 * k), 0.03 * np.sin(6 * k)], 1) for j in (0, 1)
    ]
    return [
        Surface(hull.astype(np.float32), paint_planks, 0.7, is_closed=False),
        Surface(stern.astype(np.float32), plain_paint(main * 0.8), 0.5, is_closed=False),
        Surface(deck.astype(np.float32), plain_paint(STRAW), 0.3, is_closed=False),
        sweep_tube(mast, 0.024, plain_paint(WOOD), 0.5, sides=8),
        sweep_tube(boom, 0.02, plain_paint(WOOD), 0.5, sides=8),
        Surface(mainsail, cloths[int(rng.integers(5))], 0.1, is_closed=False),
        Surface(jib, cloths[int(rng.integers(5))], 0.1, is_closed=False),
        Surface(np.stack(edges), plain_paint(main), 0.1, is_closed=False),
    ]


def _fish_skin_paint(rng: np.random.Generator, palette: Palette, body_height: float) -> Paint:
    """Return a fish's skin: plain scales, narrow or wide stripes, or a dark back; with mouth, gill and pale belly."""
    main, second, light = palette
    pattern, count, start = int(rng.integers(4)), int(rng.integers(2, 5)), rng.uniform(0.0, 0.2)

    def paint_skin(_u: Array, _v: Array, p: Array) -> Array:
        x, y = p[0], p[1]
        # Scales: rows of circles, every second row shifted by half a scale.
        line = np.floor(y * 13)
        rim = np.hypot((x * 13 + 0.5 * (line % 2)) % 1 - 0.5, y * 13 - line - 0.1)
        tint = select_color(rim > 0.55, main * 0.62, main)
        stripe = ((0.62 - x) * count + start) % 1
        if pattern == 1:
            tint = select_color(stripe < 0.4, light, main)
        if pattern == 2:
            tint = select_color(stripe < 0.5, second, tint)
        if pattern == 3:
            tint = select_color(y > 0.08 * np.sin(x * 9), tint, second)
        belly = np.clip(-y / body_height * 1.3 - 0.35, 0, 0.8)
        tint = tint * (1 - belly) + light[:, None] * belly
        mouth = (np.abs(y + 0.05 - 0.5 * (x - 0.72) ** 2) < 0.011) & (x > 0.7)
        gill = (np.abs(np.hypot(x - 0.62, y / 1.2) - 0.32) < 0.013) & (x < 0.42)
        return select_color(mouth | gill, main * 0.35, tint)

    return paint_skin


def _make_sail(
    tack: tuple[float, float], clew: tuple[float, float], head: tuple[float, float], fullness: float
) -> Array:
    """Return a triangle of cloth, filled by the wind: float32 [16, 12, 3], rows from the foot to the head."""
    height_fraction = np.linspace(0, 0.995, 16, dtype=np.float32)[:, None]
    width_fraction = np.linspace(0, 1, 12, dtype=np.float32)[None]
    flat = [
        (1 - height_fraction) * ((1 - width_fraction) * a + width_fraction * b) + height_fraction * c
        for a, b, c in zip(tack, clew, head, strict=True)
    ]
    return np.stack(
        [*flat, (fullness * 4 * width_fraction * (1 - width_fraction) + 0.09 * width_fraction) * (1 - height_fraction)],
        axis=-1,
    ).astype(np.float32)


def _make_fin(root: list[tuple[float, float]], rim: list[tuple[float, float]]) -> Array:
    """Return a fin between two curves in the vertical plane, [6, 12, 3]."""
    k = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None]
    flat = catmull_rom_spline(*root, count=12)[None] * (1 - k) + catmull_rom_spline(*rim, count=12)[None] * k
    return np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1)
