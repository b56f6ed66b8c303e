"""Grounds made by hand: wood, cloth, tiles, paper, bricks, and lights out of focus. See `grounds`."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array
from ftlab.data.samples.drawing.texture import Ground, axes, fractal, mixed, pick, tint, turned

BROWNS = "a9713f c89458 6f4526 8a4b2c b5834c"
PAINTED = "d9b98a 8d8074 5f7d8c e3ddcf 6d8f72"


def wood(rng: np.random.Generator, side: int, tones: str = f"{BROWNS} {PAINTED}") -> Ground:
    """Planks with grain, natural or painted."""
    tone = pick(rng, tones)
    planks = int(rng.integers(3, 6))
    y, x = axes(side)
    row = (y * planks).astype(int)
    shift = rng.random(planks + 1, dtype=np.float32)
    warp = fractal(rng, side, (planks * 2.5, 1.5), 3)
    grain = fractal(rng, side, (side / 5, 4), 2)
    rings = 0.5 + 0.5 * np.sin((y * planks * 3 + warp * 5 + shift[row] * 9) * 6)
    shade = (0.72 + 0.2 * rings + 0.3 * (grain - 0.5)) * (0.82 + 0.36 * shift[row])
    along = np.abs((y * planks + 0.5) % 1 - 0.5) * (side / planks)
    joint = np.minimum(along, np.abs(x - (0.1 + 0.8 * shift[::-1][row])) * side)
    albedo = tone * (shade * (0.25 + 0.75 * np.clip(joint / 1.6, 0, 1)))[..., None]
    relief = 2.5 * np.clip(joint / 3, 0, 1) + 0.8 * grain + 0.4 * rings
    return turned(rng, Ground(albedo, relief, 0.12))


def cloth(rng: np.random.Generator, side: int) -> Ground:
    """Woven cloth with soft folds: plain, checked or striped."""
    base, other = tint(rng), tint(rng, light=True)
    y, x = axes(side)
    pitch, kind = rng.uniform(18, 44), int(rng.integers(3))
    across, down = np.floor(x * (side / pitch)) % 2, np.floor(y * (side / pitch)) % 2
    amount = [np.zeros_like(x), (across + down) / 2, across][kind]
    thread = np.sin(x * (side * 1.5)) * np.sin(y * (side * 1.5))
    rough = fractal(rng, side, (side / 4, side / 4), 1)
    albedo = mixed(amount, base, other) * (0.86 + 0.1 * thread + 0.2 * (rough - 0.5))[..., None]
    return Ground(albedo, 26 * fractal(rng, side, (2.2, 2.2), 2) + 0.5 * thread, 0.03)


def tiles(rng: np.random.Generator, side: int) -> Ground:
    """Glazed tiles with grout, in one colour, a chequer or a medley."""
    first, second, grout = tint(rng), tint(rng, light=True), pick(rng, "d9d5cc 8f8a83 f1efe9")
    count = int(rng.integers(4, 9))
    y, x = axes(side)
    down, across = y * count, x * count
    if rng.random() < 0.4:
        across += 0.5 * (np.floor(down) % 2)
    cell = (down.astype(int), across.astype(int))
    medley = rng.random((12, 12), dtype=np.float32)
    chequer = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.float32)
    which = [np.zeros_like(medley), chequer, medley][int(rng.integers(3))][cell]
    tone = (0.86 + 0.28 * rng.random((12, 12), dtype=np.float32))[cell] * (0.9 + 0.2 * fractal(rng, side, (12, 12), 3))
    inset = (0.5 - np.maximum(np.abs(down % 1 - 0.5), np.abs(across % 1 - 0.5))) * (side / count)
    albedo = mixed(np.clip(inset - 1.2, 0, 1), grout, mixed(which, first, second) * tone[..., None])
    relief = 4.5 * np.clip(inset / 5, 0, 1) ** 0.6 + 1.5 * fractal(rng, side, (5, 5), 1)
    return turned(rng, Ground(albedo, relief, 0.4))


def paper(rng: np.random.Generator, side: int) -> Ground:
    """Printed paper: dots, stripes, zigzags or plain, with fibre in it."""
    base, ink = tint(rng, light=rng.random() < 0.6), tint(rng)
    y, x = axes(side)
    turn, pitch = rng.uniform(0, math.pi), rng.uniform(22, 48)
    s = (math.cos(turn) * x - math.sin(turn) * y) * (side / pitch)
    t = (math.sin(turn) * x + math.cos(turn) * y) * (side / pitch)
    wave = np.abs(s % 1 - 0.5)
    kind = int(rng.integers(4))
    if kind == 0:
        inside = 0.26 - np.hypot((s + 0.5 * (np.floor(t) % 2)) % 1 - 0.5, t % 1 - 0.5)
    elif kind == 1:
        inside = 0.25 - wave
    elif kind == 2:
        inside = 0.22 - np.abs((t + wave) % 1 - 0.5)
    else:
        inside = np.full_like(s, -1)
    amount = np.clip(inside * pitch + 0.5, 0, 1) * rng.uniform(0.35, 0.9)
    fibre = fractal(rng, side, (60, 60), 2)
    albedo = mixed(amount, base, ink) * (0.9 + 0.14 * fibre)[..., None]
    return Ground(albedo, 1.5 * fibre + 8 * fractal(rng, side, (2, 2), 1), 0.04)


def bricks(rng: np.random.Generator, side: int) -> Ground:
    """A wall of bricks, bare or painted."""
    tone, mortar = pick(rng, "a5523a 8c4a3c b8694a d8d2c6 7b7f86 c99a72"), pick(rng, "cfc8bd a39c92")
    rows = int(rng.integers(5, 9))
    y, x = axes(side)
    down = y * rows
    across = x * (rows / 2.3)
    across += np.floor(down) % 2 / 2
    each = rng.uniform(0.7, 1.2, (9, 6)).astype(np.float32)[down.astype(int), across.astype(int)]
    rough = fractal(rng, side, (30, 30), 3)
    inset = np.minimum(0.5 - np.abs(down % 1 - 0.5), (0.5 - np.abs(across % 1 - 0.5)) * 2.3) * (side / rows)
    inset = inset + 2.5 * (rough - 0.5)
    face, joint = tone * (each * (0.7 + 0.6 * rough))[..., None], mortar * (0.7 + 0.4 * rough)[..., None]
    albedo = mixed(np.clip(inset - 2, 0, 1), joint, face)
    return Ground(albedo, 4 * np.clip(inset / 4, 0, 1) + 2.5 * rough, 0.03)


def bokeh(rng: np.random.Generator, side: int) -> Ground:
    """Lights out of focus."""
    low, high = tint(rng) * 0.25, tint(rng) * 0.5
    picture = mixed(0.6 * axes(side)[0] + 0.4 * fractal(rng, side, (2, 2), 2), low, high)
    glow = tint(rng, light=True)
    for _ in range(int(rng.integers(16, 34))):
        radius = rng.uniform(0.025, 0.085) * side
        lamp = (glow if rng.random() < 0.6 else tint(rng, light=True)) * rng.uniform(0.06, 0.4)
        reach = int(radius) + 5
        disc: Array = np.zeros((2 * reach, 2 * reach), np.float32)
        for bright, thick in ((1.0, -1), (1.35, 2)):
            cv2.circle(disc, (reach * 16, reach * 16), int(radius * 16), bright, thick, cv2.LINE_8, 4)
        disc = cv2.GaussianBlur(disc, (0, 0), 1.3)
        top, left = (int(c) for c in rng.integers(-reach, side - reach, 2))
        part = disc[max(-top, 0) : side - top, max(-left, 0) : side - left, None]
        picture[max(top, 0) : top + 2 * reach, max(left, 0) : left + 2 * reach] += part * lamp
    return Ground(picture, np.zeros((side, side), np.float32), far=True)
