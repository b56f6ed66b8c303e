"""Man-made backgrounds: wood, cloth, tiles, paper, bricks, and lights out of focus. See `grounds`."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array
from ftlab.data.samples.drawing.texture import (
    Background,
    fractal_noise,
    mix_colors,
    pick_color,
    pixel_grid,
    random_tint,
    transpose_at_random,
)

BROWN_TONES = "a9713f c89458 6f4526 8a4b2c b5834c"
PAINTED_TONES = "d9b98a 8d8074 5f7d8c e3ddcf 6d8f72"


def paint_wood(rng: np.random.Generator, side: int, tones: str = f"{BROWN_TONES} {PAINTED_TONES}") -> Background:
    """Return planks with grain, natural or painted."""
    tone = pick_color(rng, tones)
    planks = int(rng.integers(3, 6))
    y, x = pixel_grid(side)
    row = (y * planks).astype(int)
    shift = rng.random(planks + 1, dtype=np.float32)
    warp = fractal_noise(rng, side, (planks * 2.5, 1.5), 3)
    grain = fractal_noise(rng, side, (side / 5, 4), 2)
    rings = 0.5 + 0.5 * np.sin((y * planks * 3 + warp * 5 + shift[row] * 9) * 6)
    shade = (0.72 + 0.2 * rings + 0.3 * (grain - 0.5)) * (0.82 + 0.36 * shift[row])
    along = np.abs((y * planks + 0.5) % 1 - 0.5) * (side / planks)
    # Distance to the nearest joint in pixels, between planks and within one.
    joint = np.minimum(along, np.abs(x - (0.1 + 0.8 * shift[::-1][row])) * side)
    albedo = tone * (shade * (0.25 + 0.75 * np.clip(joint / 1.6, 0, 1)))[..., None]
    relief = 2.5 * np.clip(joint / 3, 0, 1) + 0.8 * grain + 0.4 * rings
    return transpose_at_random(rng, Background(albedo, relief, 0.12))


def paint_cloth(rng: np.random.Generator, side: int) -> Background:
    """Return woven cloth with soft folds: plain, checked or striped."""
    first_color, second_color = random_tint(rng), random_tint(rng, is_pale=True)
    y, x = pixel_grid(side)
    pitch, pattern = rng.uniform(18, 44), int(rng.integers(3))
    column_parity, row_parity = np.floor(x * (side / pitch)) % 2, np.floor(y * (side / pitch)) % 2
    amount = [np.zeros_like(x), (column_parity + row_parity) / 2, column_parity][pattern]
    thread = np.sin(x * (side * 1.5)) * np.sin(y * (side * 1.5))
    roughness = fractal_noise(rng, side, (side / 4, side / 4), 1)
    albedo = mix_colors(amount, first_color, second_color) * (0.86 + 0.1 * thread + 0.2 * (roughness - 0.5))[..., None]
    return Background(albedo, 26 * fractal_noise(rng, side, (2.2, 2.2), 2) + 0.5 * thread, 0.03)


def paint_tiles(rng: np.random.Generator, side: int) -> Background:
    """Return glazed tiles with grout, in one color, a checkerboard or a random mix."""
    first_color, second_color, grout_color = (
        random_tint(rng),
        random_tint(rng, is_pale=True),
        pick_color(rng, "d9d5cc 8f8a83 f1efe9"),
    )
    tile_count = int(rng.integers(4, 9))
    y, x = pixel_grid(side)
    row_position, column_position = y * tile_count, x * tile_count
    if rng.random() < 0.4:
        column_position += 0.5 * (np.floor(row_position) % 2)
    cell = (row_position.astype(int), column_position.astype(int))
    # 12 × 12: more than the largest number of tiles, with half a tile of shift.
    medley = rng.random((12, 12), dtype=np.float32)
    chequer = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.float32)
    color_choice = [np.zeros_like(medley), chequer, medley][int(rng.integers(3))][cell]
    tone = (0.86 + 0.28 * rng.random((12, 12), dtype=np.float32))[cell] * (
        0.9 + 0.2 * fractal_noise(rng, side, (12, 12), 3)
    )
    edge_distance = (0.5 - np.maximum(np.abs(row_position % 1 - 0.5), np.abs(column_position % 1 - 0.5))) * (
        side / tile_count
    )
    albedo = mix_colors(
        np.clip(edge_distance - 1.2, 0, 1),
        grout_color,
        mix_colors(color_choice, first_color, second_color) * tone[..., None],
    )
    relief = 4.5 * np.clip(edge_distance / 5, 0, 1) ** 0.6 + 1.5 * fractal_noise(rng, side, (5, 5), 1)
    return transpose_at_random(rng, Background(albedo, relief, 0.4))


def paint_paper(rng: np.random.Generator, side: int) -> Background:
    """Return printed paper with fibers: dots, stripes, zigzags or plain."""
    base_color, ink_color = random_tint(rng, is_pale=rng.random() < 0.6), random_tint(rng)
    y, x = pixel_grid(side)
    angle, pitch = rng.uniform(0, math.pi), rng.uniform(22, 48)
    s = (math.cos(angle) * x - math.sin(angle) * y) * (side / pitch)
    t = (math.sin(angle) * x + math.cos(angle) * y) * (side / pitch)
    # A triangle wave, for stripes and zigzags.
    wave = np.abs(s % 1 - 0.5)
    pattern = int(rng.integers(4))
    if pattern == 0:
        mark_distance = 0.26 - np.hypot((s + 0.5 * (np.floor(t) % 2)) % 1 - 0.5, t % 1 - 0.5)
    elif pattern == 1:
        mark_distance = 0.25 - wave
    elif pattern == 2:
        mark_distance = 0.22 - np.abs((t + wave) % 1 - 0.5)
    else:
        mark_distance = np.full_like(s, -1)
    amount = np.clip(mark_distance * pitch + 0.5, 0, 1) * rng.uniform(0.35, 0.9)
    fibre = fractal_noise(rng, side, (60, 60), 2)
    albedo = mix_colors(amount, base_color, ink_color) * (0.9 + 0.14 * fibre)[..., None]
    return Background(albedo, 1.5 * fibre + 8 * fractal_noise(rng, side, (2, 2), 1), 0.04)


def paint_bricks(rng: np.random.Generator, side: int) -> Background:
    """Return a brick wall, bare or painted."""
    tone, mortar = pick_color(rng, "a5523a 8c4a3c b8694a d8d2c6 7b7f86 c99a72"), pick_color(rng, "cfc8bd a39c92")
    rows = int(rng.integers(5, 9))
    y, x = pixel_grid(side)
    row_position = y * rows
    column_position = x * (rows / 2.3)
    column_position += np.floor(row_position) % 2 / 2
    brick_shade = rng.uniform(0.7, 1.2, (9, 6)).astype(np.float32)[
        row_position.astype(int), column_position.astype(int)
    ]
    roughness = fractal_noise(rng, side, (30, 30), 3)
    edge_distance = np.minimum(
        0.5 - np.abs(row_position % 1 - 0.5), (0.5 - np.abs(column_position % 1 - 0.5)) * 2.3
    ) * (side / rows)
    edge_distance = edge_distance + 2.5 * (roughness - 0.5)
    brick_color, joint_color = (
        tone * (brick_shade * (0.7 + 0.6 * roughness))[..., None],
        mortar * (0.7 + 0.4 * roughness)[..., None],
    )
    albedo = mix_colors(np.clip(edge_distance - 2, 0, 1), joint_color, brick_color)
    return Background(albedo, 4 * np.clip(edge_distance / 4, 0, 1) + 2.5 * roughness, 0.03)


def paint_bokeh(rng: np.random.Generator, side: int) -> Background:
    """Return lights out of focus."""
    dark_color, bright_color = random_tint(rng) * 0.25, random_tint(rng) * 0.5
    image = mix_colors(0.6 * pixel_grid(side)[0] + 0.4 * fractal_noise(rng, side, (2, 2), 2), dark_color, bright_color)
    glow = random_tint(rng, is_pale=True)
    for _ in range(int(rng.integers(16, 34))):
        radius = rng.uniform(0.025, 0.085) * side
        light_color = (glow if rng.random() < 0.6 else random_tint(rng, is_pale=True)) * rng.uniform(0.06, 0.4)
        half_size = int(radius) + 5
        disc: Array = np.zeros((2 * half_size, 2 * half_size), np.float32)
        for brightness, thickness in ((1.0, -1), (1.35, 2)):
            cv2.circle(disc, (half_size * 16, half_size * 16), int(radius * 16), brightness, thickness, cv2.LINE_8, 4)
        disc = cv2.GaussianBlur(disc, (0, 0), 1.3)
        top, left = (int(coordinate) for coordinate in rng.integers(-half_size, side - half_size, 2))
        disc_part = disc[max(-top, 0) : side - top, max(-left, 0) : side - left, None]
        image[max(top, 0) : top + 2 * half_size, max(left, 0) : left + 2 * half_size] += disc_part * light_color
    return Background(image, np.zeros((side, side), np.float32), is_distant=True)
