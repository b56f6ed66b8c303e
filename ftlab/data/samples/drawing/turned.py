"""Toys that are surfaces of revolution: balloon, mug, mushroom, umbrella. See `toys`."""

from __future__ import annotations

import numpy as np

from ftlab.data.samples.drawing.palette import STEEL, STRAW, WOOD, Palette
from ftlab.data.samples.drawing.surfaces import (
    Array,
    Paint,
    Surface,
    band_paint,
    catmull_rom_spline,
    dot_paint,
    hex_to_linear_rgb,
    in_range,
    plain_paint,
    revolve_profile,
    scatter_points,
    select_color,
    sweep_tube,
)

_DRINK_COLORS = ("3b1f12", "7a4a25", "b5651d", "f0e6d8", "5c2a1c", "9fb541")


def build_balloon(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return a hot-air balloon: a gored envelope, striped or zigzagged, over a wicker basket on four ropes."""
    main, second, light = palette
    max_radius, mouth_radius = rng.uniform(0.7, 0.8), rng.uniform(0.16, 0.24)
    gores = int(rng.choice([12, 16]))
    envelope = catmull_rom_spline(
        (mouth_radius, -0.5),
        (max_radius * 0.55, -0.2),
        (max_radius * 0.93, 0.15),
        (max_radius, 0.45),
        (max_radius * 0.72, 0.86),
        (0, 1.05),
        count=28,
    )
    colors = [[main, second], [main, light], [main, second, light, second], [main, light, second]][int(rng.integers(4))]
    stripes = [
        # Stripes along gores must close around the envelope.
        band_paint(colors, gores if gores % len(colors) == 0 else 12),
        band_paint(colors, int(rng.integers(5, 8)), rows=True),
        band_paint(colors, int(rng.integers(4, 7)), rows=True, wave=0.28, teeth=gores),
    ][int(rng.integers(3))]
    skin = revolve_profile(envelope, stripes, sides=gores * 4)
    # Each gore bulges outwards between its seams.
    bulge = 1 + 0.035 * np.abs(np.sin(np.linspace(0, gores * np.pi, gores * 4 + 1, dtype=np.float32)))
    puffed_points = skin.points * np.stack([bulge, np.ones_like(bulge), bulge], axis=-1)

    basket_radius, basket_bottom = rng.uniform(0.15, 0.19), -rng.uniform(0.98, 1.12)
    basket = catmull_rom_spline(
        (0, basket_bottom),
        (basket_radius * 0.85, basket_bottom),
        (basket_radius * 0.92, basket_bottom + 0.03),
        (basket_radius, basket_bottom + 0.24),
        count=12,
    )

    def paint_wicker(u: Array, v: Array, p: Array) -> Array:
        weave = 0.75 + 0.25 * np.sin(p[1] * 110) * np.sign(np.sin(u * 88))
        return select_color(v > 0.9, WOOD, STRAW[:, None] * weave)

    ropes = []
    for angle in (0.5, 2.07, 3.64, 5.21):
        x, z = float(np.cos(angle)), float(np.sin(angle))
        rope_ends = (
            (basket_radius * 0.9 * x, basket_bottom + 0.22, basket_radius * 0.9 * z),
            (mouth_radius * x, -0.48, mouth_radius * z),
        )
        ropes.append(sweep_tube(np.linspace(*rope_ends, 6, dtype=np.float32), 0.014, plain_paint(WOOD), sides=6))
    return [Surface(puffed_points, stripes, 0.35), revolve_profile(basket, paint_wicker, 0.1, sides=28), *ropes]


def build_mug(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return a glazed mug with a handle and a drink."""
    main, second, light = palette
    half_height, foot_radius, top_radius = rng.uniform(0.52, 0.72), rng.uniform(0.46, 0.6), 0.62
    belly_radius = (foot_radius + top_radius) / 2 + rng.uniform(-0.03, 0.05)
    base = catmull_rom_spline(
        (0, -half_height), (foot_radius - 0.05, -half_height), (foot_radius, -half_height + 0.05), count=9
    )
    wall = catmull_rom_spline(
        (foot_radius, -half_height + 0.05), (belly_radius, 0), (top_radius, half_height - 0.03), count=16
    )
    lip = catmull_rom_spline(
        (top_radius, half_height - 0.03),
        (top_radius - 0.03, half_height),
        (top_radius - 0.06, half_height - 0.03),
        count=8,
    )
    # The inner wall ends where the drink begins, so that neither is hidden behind the other.
    drink_depth = rng.uniform(0.12, 0.3)
    drink_radius = top_radius - 0.06 - 0.35 * drink_depth * (top_radius - belly_radius)
    inner_wall = np.linspace((top_radius - 0.06, half_height - 0.03), (drink_radius, half_height - drink_depth), 6)
    drink = np.linspace((drink_radius, half_height - drink_depth), (0, half_height - drink_depth), 12)
    handle_reach, handle_drop = rng.uniform(0.42, 0.56), rng.uniform(0.29, 0.4)
    # The handle starts and ends inside the wall, so that no gap shows.
    t = np.linspace(0, 3.14, 26, dtype=np.float32)
    height = handle_drop * np.cos(t)
    bow = np.interp(height, wall[:, 1], wall[:, 0]) - 0.035 + handle_reach * np.sin(t) ** 0.75
    handle = np.stack([bow, height, 0 * t], axis=1).astype(np.float32)
    rim = main if rng.random() < 0.6 else second
    return [
        revolve_profile(base, plain_paint(main), 0.8),
        revolve_profile(wall, _glaze_paint(rng, palette, wall), 0.8),
        revolve_profile(lip, plain_paint(rim), 0.9),
        revolve_profile(inner_wall, plain_paint(light if rng.random() < 0.6 else second), 0.5, is_closed=False),
        revolve_profile(drink, plain_paint(hex_to_linear_rgb(str(rng.choice(_DRINK_COLORS)))), 0.9, is_closed=False),
        sweep_tube(handle, 0.075, plain_paint(rim), 0.8, sides=14),
    ]


def build_mushroom(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return a mushroom with a spotted cap, gills and a stout stem."""
    main, _, light = palette
    cap_radius, cap_height = rng.uniform(0.78, 0.98), rng.uniform(0.42, 0.72)
    cap = catmull_rom_spline(
        (cap_radius * 0.93, -0.03),
        (cap_radius, 0.03),
        (cap_radius * 0.86, cap_height * 0.55),
        (cap_radius * 0.45, cap_height * 0.93),
        (0, cap_height),
        count=24,
    )
    gills = catmull_rom_spline((0.12, 0.1), (cap_radius * 0.5, 0.06), (cap_radius * 0.94, -0.03), count=8)
    stem_radius, foot_radius, stem_length = rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.42), rng.uniform(0.65, 0.9)
    stem = catmull_rom_spline(
        (0, -stem_length),
        (foot_radius * 0.8, -stem_length + 0.03),
        (foot_radius, -stem_length + 0.14),
        (stem_radius, -stem_length * 0.45),
        (stem_radius, 0.12),
        count=20,
    )
    dot_count = int(rng.integers(12, 22))
    dome = revolve_profile(cap, plain_paint(main), 0.6)
    centers = scatter_points(rng, dome.points[3:].reshape(-1, 3), dot_count)
    spots = dot_paint(main, light, centers, rng.uniform(0.06, 0.16, dot_count))
    cream = light * np.array([1, 0.93, 0.8], np.float32)

    def paint_gills(u: Array, _v: Array, _p: Array) -> Array:
        return cream[:, None] * (0.62 + 0.3 * np.sin(u * 276.5))

    def paint_stem(u: Array, v: Array, _p: Array) -> Array:
        colors: Array = cream[:, None] * (0.86 + 0.09 * np.sin(u * 62.8 + np.sin(v * 9)))
        return colors

    return [
        Surface(dome.points, spots, 0.6),
        revolve_profile(gills, paint_gills, 0.05, is_closed=False),
        revolve_profile(stem, paint_stem, 0.15),
    ]


def build_umbrella(rng: np.random.Generator, palette: Palette) -> list[Surface]:
    """Return an open umbrella: eight scalloped panels, a stick and a crook."""
    main, second, light = palette
    canopy_height, panel_count = rng.uniform(0.6, 0.85), 8
    radial = np.linspace(1, 0.004, 15, dtype=np.float32)[:, None]
    angle = np.linspace(0, 2 * np.pi, panel_count * 8 + 1, dtype=np.float32)[None]
    # 0 at a rib, 1 in the middle of a panel, where the edge is drawn in.
    from_rib = np.abs(np.sin(angle * (panel_count / 2)))
    radius = np.sin(radial * 1.32) / np.sin(1.32) * (1 - 0.075 * radial**2 * from_rib**0.7)
    height = canopy_height * (np.cos(radial * 1.45) + 0.07 * radial**3 * from_rib)
    canopy = np.stack([radius * np.cos(angle), height, -radius * np.sin(angle)], axis=-1).astype(np.float32)
    panel_paint = band_paint(
        [[main, second], [main, light], [main], [main, main, second, light]][int(rng.integers(4))], panel_count
    )
    hem_color = second if rng.random() < 0.5 else main * 0.7

    def paint_canopy(u: Array, v: Array, p: Array) -> Array:
        seam = np.abs((u * panel_count + 0.5) % 1 - 0.5) < 0.018
        return select_color(seam, main * 0.45, select_color(v < 0.07, hem_color, panel_paint(u, v, p)))

    stick_end = -rng.uniform(0.72, 0.92)
    stick = np.linspace((0, stick_end, 0), (0, canopy_height + 0.14, 0), 26, dtype=np.float32)
    bend = np.linspace(0, np.pi * 1.1, 14, dtype=np.float32)
    crook = np.stack([0.13 - 0.13 * np.cos(bend), stick_end - 0.14 * np.sin(bend), 0 * bend], axis=1)
    grip = np.concatenate([np.linspace((0, stick_end + 0.26, 0), (0, stick_end + 0.02, 0), 6, dtype=np.float32), crook])
    return [
        Surface(canopy, paint_canopy, 0.25, is_closed=False),
        sweep_tube(stick, 0.03, plain_paint(STEEL), 0.8, sides=10),
        sweep_tube(grip, 0.058, plain_paint(WOOD if rng.random() < 0.5 else second), 0.6),
    ]


def _glaze_paint(rng: np.random.Generator, palette: Palette, wall: Array) -> Paint:
    """Return a mug's pattern: plain, upright stripes, one belt, rings or dots."""
    main, second, light = palette
    pattern = int(rng.integers(5))
    if pattern == 0:
        return plain_paint(main)
    if pattern == 1:
        return band_paint([main, second if rng.random() < 0.5 else light], int(rng.integers(4, 9)) * 2)
    if pattern == 2:
        belt_bottom = rng.uniform(0.3, 0.55)
        return lambda _u, v, _p: select_color(in_range(v, belt_bottom, belt_bottom + 0.25), second, main)
    if pattern == 3:
        return band_paint([main, light], int(rng.integers(5, 10)), rows=True)
    dot_count = 44
    centers = scatter_points(rng, revolve_profile(wall, plain_paint(main)).points.reshape(-1, 3), dot_count)
    return dot_paint(main, light, centers, np.full(dot_count, rng.uniform(0.06, 0.11)))
