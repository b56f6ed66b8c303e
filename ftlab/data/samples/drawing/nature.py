"""Natural backgrounds: grass, sand, water, pebbles, leaves, sky. See `grounds`."""

from __future__ import annotations

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, hex_to_linear_rgb
from ftlab.data.samples.drawing.texture import (
    Background,
    fractal_noise,
    mix_colors,
    pick_color,
    pixel_grid,
    random_tint,
)

_SKY_COLORS = (
    "2f74c0 9cc9ee ffffff",
    "5a9bd6 d6e9f5 ffffff",
    "54476f f0a07a ffd9b0",
    "7a8fa8 c9d2d9 f2f4f5",
    "20395e 6f8fb5 c7d3e6",
)
_LEAF_COLORS = ("b5541f d98c2b 8c3b1c c9a23a", "4c7a33 7fa048 2f5a34 a2b457", "8a3a3f c4643f e0a63f 6b2f2a")
_STONE_COLORS = ("8d8a86", "b7ada0", "6f6a67", "cfc7ba", "9b8672", "767f87", "a99c8c")
_SUBPIXEL_BITS = 4  # fractional bits of polygon corners


def paint_grass(rng: np.random.Generator, side: int, tones: str = "4f8a2c 6ca03a 3d7434 95a24a 7f9440") -> Background:
    """Return blades of grass, green to dry."""
    tone = pick_color(rng, tones)
    image = np.full((side, side, 3), tone * 0.22, np.float32)
    relief = np.zeros((side, side), np.float32)
    patch = fractal_noise(rng, side, (3, 3), 3)
    blade_count = 2300
    root = rng.uniform(-0.02, 1.02, (blade_count, 2)) * side
    lean = rng.normal(-np.pi / 2, 0.75, blade_count)
    direction = np.stack([np.cos(lean), np.sin(lean)], axis=1)
    tip = root + direction * rng.uniform(0.05, 0.12, (blade_count, 1)) * side
    side_offset = direction[:, ::-1] * (-1, 1) * rng.uniform(0.7, 1.7, (blade_count, 1))
    bend = (root + tip) / 2 + rng.normal(0, 0.012, (blade_count, 2)) * side
    blades = _to_fixed_point(
        np.stack(
            [root - side_offset, bend - side_offset * 0.8, tip, bend + side_offset * 0.8, root + side_offset], axis=1
        )
    )
    column, row = np.clip(root.astype(int), 0, side - 1).T
    # Blades are painted in order: later ones are brighter, and lie on top.
    brightness = (
        rng.uniform(0.45, 1.35, blade_count) * np.linspace(0.6, 1.1, blade_count) * (0.65 + 0.7 * patch[row, column])
    )
    blade_colors = (
        brightness[:, None]
        * tone
        * np.stack([rng.uniform(0.85, 1.35, blade_count), np.ones(blade_count), np.ones(blade_count)], axis=1)
    )
    heights = np.linspace(0, 6, blade_count) + 2 * brightness
    for blade, color, height in zip(blades, blade_colors.tolist(), heights.tolist(), strict=True):
        cv2.fillPoly(image, [blade], color, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.fillPoly(relief, [blade], height, cv2.LINE_8, _SUBPIXEL_BITS)
    return Background(cv2.GaussianBlur(image, (0, 0), 0.6), cv2.GaussianBlur(relief, (0, 0), 0.8), 0.1)


def paint_sand(rng: np.random.Generator, side: int) -> Background:
    """Return rippled sand."""
    tone = pick_color(rng, "dcc08c e8d5ae c9a26a d8c6a8 b98f63 cfcabd")
    y, x = pixel_grid(side)
    warp = fractal_noise(rng, side, (3, 3), 3)
    slant, ripple_frequency = rng.uniform(-0.5, 0.5), rng.uniform(45, 80)
    ripple = np.sin((y + slant * x) * ripple_frequency + warp * 14)
    speck = rng.random((side, side), dtype=np.float32)
    albedo = tone * (0.8 + 0.16 * fractal_noise(rng, side, (6, 6), 3) + 0.16 * (speck - 0.5))[..., None]
    return Background(albedo, 1.8 * ripple + 6 * warp + 0.5 * speck, 0.02)


def paint_water(rng: np.random.Generator, side: int, tones: str = "1c7fa6 2aa3a8 2f6fb0 3b8f86 4d9fc4") -> Background:
    """Return clear water with caustics, a net of light."""
    tone = pick_color(rng, tones)
    cells = rng.uniform(4, 7)
    warp = fractal_noise(rng, side, (cells, cells), 2)
    nets = [1 - np.abs(fractal_noise(rng, side, (cells * 0.8, cells), 2) * 2 - 1) for _ in range(2)]
    # Ridges of two noises, sharpened: caustics.
    net = np.maximum(*nets) ** 7 * (0.45 + 0.55 * warp)
    depth = 0.55 + 0.5 * fractal_noise(rng, side, (2, 2), 2) + 0.15 * pixel_grid(side)[0]
    albedo = tone * depth[..., None] + net[..., None] * (0.55 * tone + 0.22)
    return Background(albedo, 5 * warp + 2.5 * nets[0] + 4 * fractal_noise(rng, side, (9, 5), 2), 0.7)


def paint_pebbles(rng: np.random.Generator, side: int) -> Background:
    """Return rounded stones, close together: cells about jittered points (Worley, 1996)."""
    count = int(rng.integers(7, 13))
    size = side / count
    centers = (
        np.indices((count + 4, count + 4)).transpose(1, 2, 0) - 2 + rng.uniform(0.12, 0.88, (count + 4, count + 4, 2))
    )
    stone_colors = np.stack([hex_to_linear_rgb(code) for code in _STONE_COLORS])[
        rng.integers(0, len(_STONE_COLORS), (count + 4, count + 4))
    ]
    stone_colors *= rng.uniform(0.7, 1.1, (count + 4, count + 4, 1)).astype(np.float32) * random_tint(rng, is_pale=True)
    half_side = (side + 1) // 2  # half the resolution is enough for smooth stones, at a quarter of the time
    y, x = pixel_grid(half_side)
    y = y * count + (10 / size) * (fractal_noise(rng, half_side, (8, 8), 2) - 0.5)
    x = x * count
    row, column = np.clip(np.floor(y).astype(int), 0, count - 1), x.astype(int)
    nearest_distance = np.full((half_side, half_side), 9, np.float32)
    second_distance, nearest_index = nearest_distance.copy(), np.zeros((half_side, half_side), int)
    # Distances to the points of the 25 cells around a pixel are enough, as each point lies within its own cell.
    for k in range(25):
        i, j = row + k // 5, column + k % 5
        center = centers[i, j]
        distance = np.hypot(y - center[..., 0], x - center[..., 1]).astype(np.float32)
        second_distance = np.minimum(second_distance, np.maximum(nearest_distance, distance))
        nearest_index = np.where(distance < nearest_distance, i * (count + 4) + j, nearest_index)
        nearest_distance = np.minimum(nearest_distance, distance)
    edge_distance = cv2.resize(second_distance - nearest_distance, (side, side), interpolation=cv2.INTER_CUBIC)
    stone_color = cv2.resize(stone_colors.reshape(-1, 3)[nearest_index], (side, side), interpolation=cv2.INTER_LINEAR)
    dome = np.clip(edge_distance / 0.75, 0, 1)
    albedo = (
        stone_color
        * ((0.75 + 0.4 * fractal_noise(rng, side, (40, 40), 3)) * np.clip(0.15 + 2.2 * dome, 0, 1))[..., None]
    )
    return Background(albedo, size * 0.42 * np.sqrt(1 - (1 - dome) ** 2), 0.2)


def paint_leaves(rng: np.random.Generator, side: int) -> Background:
    """Return fallen leaves, in autumn colors or still green."""
    colors = [hex_to_linear_rgb(code) for code in str(rng.choice(_LEAF_COLORS)).split()]
    image = np.full((side, side, 3), colors[0] * 0.25, np.float32)
    relief = np.zeros((side, side), np.float32)
    t = np.linspace(-1, 1, 13)
    bulge = 0.42 * (1 - t**2) * (1 + 0.3 * t)
    # The two halves of a leaf differ in brightness, as if folded along the rib.
    halves = ((np.stack([t, bulge], axis=1), 1.0), (np.stack([t, -bulge], axis=1), 0.82))
    rib = np.array([[-1.15, 0], [0.95, 0]])
    for k in range(230):
        angle, length = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.06, 0.11)
        rotation = length * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        position = rng.uniform(-0.05, 1.05, 2) * side
        color = colors[int(rng.integers(len(colors)))] * rng.uniform(0.6, 1.25)
        for half, shade in halves:
            points = _to_fixed_point(half @ rotation + position)
            cv2.fillPoly(image, [points], (color * shade).tolist(), cv2.LINE_8, _SUBPIXEL_BITS)
            cv2.fillPoly(relief, [points], 4 + k / 12 + 2 * shade, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.polylines(
            image,
            [_to_fixed_point(rib @ rotation + position)],
            False,
            (color * 0.55).tolist(),
            1,
            cv2.LINE_8,
            _SUBPIXEL_BITS,
        )
    return Background(cv2.GaussianBlur(image, (0, 0), 0.8), cv2.GaussianBlur(relief, (0, 0), 1.2) * 0.9, 0.1)


def paint_sky(rng: np.random.Generator, side: int, skies: tuple[str, ...] = _SKY_COLORS) -> Background:
    """Return a sky with clouds, at noon or at dusk."""
    zenith_color, horizon_color, cloud_color = (hex_to_linear_rgb(code) for code in str(rng.choice(skies)).split())
    mass = fractal_noise(rng, side, (rng.uniform(2.2, 4), rng.uniform(1.4, 2.6)), 6)
    coverage = np.clip((mass - rng.uniform(0.46, 0.6)) * 4.5, 0, 1)
    # Smoothstep, for soft edges.
    coverage = coverage * coverage * (3 - 2 * coverage)
    # Shading by the difference to what lies below: clouds are darker underneath.
    shifted_mass = np.vstack([mass[side // 26 :], mass[-(side // 26) :]])
    shade = np.clip(0.8 - 1.2 * (mass - shifted_mass), 0.66, 1)
    albedo = mix_colors(
        coverage, mix_colors(pixel_grid(side)[0], zenith_color, horizon_color), cloud_color * shade[..., None]
    )
    return Background(albedo, np.zeros((side, side), np.float32), is_distant=True)


def _to_fixed_point(points: Array) -> Array:
    """Return coordinates as OpenCV's fixed-point integers."""
    return np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
