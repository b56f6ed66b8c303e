"""What is behind the objects of the sample sets: a dozen textures, each drawn afresh from random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ftlab.data.surfaces import Array, colour


@dataclass(frozen=True)
class Ground:
    """A background.

    Attributes:
        albedo: [S, S, 3] float32 linear RGB.
        relief: [S, S] float32 height in pixels; the light falls on its slopes.
        gloss: 0 (sand) to 1 (glazed).
        far: as far as the sky: no shadow falls on it.
    """

    albedo: Array
    relief: Array
    gloss: float = 0.05
    far: bool = False


def fractal(rng: np.random.Generator, side: int, cells: tuple[float, float], octaves: int = 4) -> Array:
    """Smooth noise [side, side] float32, about [0, 1], mean about 0.5.

    Args:
        rng: where the numbers come from.
        side: pixels.
        cells: how many bumps of the coarsest octave fit down and across; each octave doubles them, at half the weight.
        octaves: how many.
    """
    total = np.zeros((side, side), np.float32)
    weight = 0.0
    for k in range(octaves):
        shape = [int(min(side, np.ceil(c * 2**k))) + 3 for c in cells]
        layer = cv2.resize(rng.random(shape, dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        total += layer * 0.5**k
        weight += 0.5**k
    return np.clip((total / weight - 0.5) * 1.6 + 0.5, 0, 1)


def wood(rng: np.random.Generator, side: int) -> Ground:
    """Planks with grain, natural or painted."""
    tone = _pick(rng, "a9713f c89458 6f4526 d9b98a 8d8074 8a4b2c 5f7d8c e3ddcf 6d8f72")
    planks = int(rng.integers(3, 6))
    y, x = _axes(side)
    row = np.floor(y * planks).astype(int)
    shift = rng.random(planks + 1, dtype=np.float32)
    warp = fractal(rng, side, (planks * 2.5, 1.5), 3)
    grain = fractal(rng, side, (side / 5, 4), 2)
    rings = 0.5 + 0.5 * np.sin((y * planks * 3 + warp * 5 + shift[row] * 9) * 6)
    shade = (0.72 + 0.2 * rings + 0.3 * (grain - 0.5)) * (0.82 + 0.36 * shift[row])
    edge = np.abs((y * planks + 0.5) % 1 - 0.5) * side / planks
    joint = np.abs(x - (0.1 + 0.8 * shift[::-1][row])) * side
    gap = np.clip(np.minimum(edge, joint) / 1.6, 0, 1)
    albedo = tone * (shade * (0.25 + 0.75 * gap))[..., None]
    relief = np.minimum(np.clip(np.minimum(edge, joint) / 3, 0, 1) * 2.5, 2.5) + 0.8 * grain + 0.4 * rings
    return _turned(rng, Ground(albedo.astype(np.float32), relief.astype(np.float32), 0.12))


def cloth(rng: np.random.Generator, side: int) -> Ground:
    """Woven cloth with soft folds: plain, checked or striped."""
    base, other = _tint(rng), _tint(rng, light=True)
    y, x = _axes(side)
    pitch, kind = rng.uniform(18, 44), int(rng.integers(3))
    across, down = np.floor(x * side / pitch) % 2, np.floor(y * side / pitch) % 2
    amount = [np.zeros_like(x), (across + down) / 2, across][kind][..., None]
    thread = np.sin(x * side * 1.5) * np.sin(y * side * 1.5)
    rough = fractal(rng, side, (side / 4, side / 4), 1)
    albedo = (base * (1 - amount) + other * amount) * (0.86 + 0.1 * thread + 0.2 * (rough - 0.5))[..., None]
    relief = 26 * fractal(rng, side, (2.2, 2.2), 2) + 0.5 * thread
    return Ground(albedo.astype(np.float32), relief.astype(np.float32), 0.03)


def grass(rng: np.random.Generator, side: int) -> Ground:
    """Blades of grass from above, green to dry."""
    return _blades(rng, side, _pick(rng, "4f8a2c 6ca03a 3d7434 95a24a 7f9440"))


def sand(rng: np.random.Generator, side: int) -> Ground:
    """Sand in ripples."""
    tone = _pick(rng, "dcc08c e8d5ae c9a26a d8c6a8 b98f63 cfcabd")
    y, x = _axes(side)
    warp = fractal(rng, side, (3, 3), 3)
    turn = rng.uniform(-0.5, 0.5)
    ripple = np.sin((y + turn * x) * rng.uniform(45, 80) + warp * 14)
    speck = rng.random((side, side), dtype=np.float32)
    albedo = tone * (0.8 + 0.16 * fractal(rng, side, (6, 6), 3) + 0.16 * (speck - 0.5))[..., None]
    relief = 1.8 * ripple + 6 * warp + 0.5 * speck
    return Ground(albedo.astype(np.float32), relief.astype(np.float32), 0.02)


def water(rng: np.random.Generator, side: int) -> Ground:
    """Clear water with a net of light on it."""
    return _pool(rng, side, _pick(rng, "1c7fa6 2aa3a8 2f6fb0 3b8f86 4d9fc4"))


def tiles(rng: np.random.Generator, side: int) -> Ground:
    """Glazed tiles with grout, in one colour, a chequer or a medley."""
    first, second, grout = _tint(rng), _tint(rng, light=True), _pick(rng, "d9d5cc 8f8a83 f1efe9")
    count = int(rng.integers(4, 9))
    y, x = _axes(side)
    down, across = y * count, x * count
    if rng.random() < 0.4:
        across = across + 0.5 * (np.floor(down) % 2)
    cell = (np.floor(down).astype(int) % 12, np.floor(across).astype(int) % 12)
    which = [np.zeros((12, 12)), np.indices((12, 12)).sum(axis=0) % 2, rng.random((12, 12))][int(rng.integers(3))][cell]
    tone = 0.86 + 0.28 * rng.random((12, 12))[cell]
    inset = np.minimum(0.5 - np.abs(down % 1 - 0.5), 0.5 - np.abs(across % 1 - 0.5)) * side / count
    on = np.clip(inset - 1.2, 0, 1)[..., None]
    face = (first * (1 - which[..., None]) + second * which[..., None]) * tone[..., None]
    mottle = (0.9 + 0.2 * fractal(rng, side, (12, 12), 3))[..., None]
    relief = 4.5 * np.clip(inset / 5, 0, 1) ** 0.6 + 1.5 * fractal(rng, side, (5, 5), 1)
    return _turned(
        rng, Ground(((face * on + grout * (1 - on)) * mottle).astype(np.float32), relief.astype(np.float32), 0.4)
    )


def pebbles(rng: np.random.Generator, side: int) -> Ground:
    """Rounded stones, close together."""
    count = int(rng.integers(7, 13))
    jitter = rng.uniform(0.12, 0.88, (count + 2, count + 2, 2))
    spots = (np.indices((count + 2, count + 2)).transpose(1, 2, 0) - 1 + jitter).reshape(-1, 2) * side / count
    y, x = np.mgrid[0:side:2, 0:side:2].astype(np.float32)
    warp = 10 * (fractal(rng, side, (8, 8), 2)[::2, ::2] - 0.5)
    far = np.sqrt((y[..., None] + warp[..., None] - spots[:, 0]) ** 2 + (x[..., None] - spots[:, 1]) ** 2)
    near = np.partition(far, 1, axis=-1)[..., :2]
    owner = far.argmin(axis=-1)
    edge = cv2.resize((near[..., 1] - near[..., 0]).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    tints = np.stack([colour(c) for c in ("8d8a86", "b7ada0", "6f6a67", "cfc7ba", "9b8672", "767f87", "a99c8c")])
    tone = tints[rng.integers(0, 7, len(spots))] * rng.uniform(0.7, 1.1, (len(spots), 1))
    dome = np.clip(edge / (side / count * 0.75), 0, 1)
    face = cv2.resize(tone[owner].astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    face = face * _tint(rng, light=True) * (0.75 + 0.4 * fractal(rng, side, (40, 40), 3))[..., None]
    relief = side / count * 0.42 * np.sqrt(1 - (1 - dome) ** 2)
    return Ground(
        (face * np.clip(0.15 + 2.2 * dome, 0, 1)[..., None]).astype(np.float32), relief.astype(np.float32), 0.2
    )


def bokeh(rng: np.random.Generator, side: int) -> Ground:
    """Lights out of focus."""
    y, x = _axes(side)
    low, high = _tint(rng) * 0.25, _tint(rng) * 0.5
    picture = low + (high - low) * (0.6 * y + 0.4 * fractal(rng, side, (2, 2), 2))[..., None]
    picture = picture.astype(np.float32)
    glow = _tint(rng, light=True)
    for _ in range(int(rng.integers(16, 34))):
        disc = np.zeros((side, side), np.float32)
        centre = tuple(int(c) for c in rng.integers(0, side * 16, 2))
        radius = rng.uniform(0.025, 0.085) * side
        cv2.circle(disc, centre, int(radius * 16), 1.0, -1, cv2.LINE_8, 4)
        cv2.circle(disc, centre, int(radius * 16), 1.35, 2, cv2.LINE_8, 4)
        tint = glow if rng.random() < 0.6 else _tint(rng, light=True)
        picture += cv2.GaussianBlur(disc, (0, 0), 1.3)[..., None] * tint * rng.uniform(0.06, 0.4)
    return Ground(picture, np.zeros((side, side), np.float32), far=True)


def sky(rng: np.random.Generator, side: int) -> Ground:
    """Sky with clouds, at noon or at dusk."""
    return _clouds(rng, side, *(colour(c) for c in str(rng.choice(_SKIES)).split()))


def paper(rng: np.random.Generator, side: int) -> Ground:
    """Printed paper: dots, stripes, zigzags or plain, with fibre in it."""
    base, print_ = _tint(rng, light=rng.random() < 0.6), _tint(rng)
    y, x = _axes(side)
    a = rng.uniform(0, np.pi)
    s, t = (np.cos(a) * x - np.sin(a) * y) * side, (np.sin(a) * x + np.cos(a) * y) * side
    pitch = rng.uniform(22, 48)
    down = np.floor(t / pitch)
    spots = np.hypot((s / pitch + 0.5 * (down % 2)) % 1 - 0.5, (t / pitch) % 1 - 0.5)
    zigzag = (t + np.abs((s / pitch) % 1 - 0.5) * pitch) / pitch % 1
    kind = int(rng.integers(4))
    ink = [(0.26 - spots), 0.25 - np.abs(s / pitch % 1 - 0.5), 0.22 - np.abs(zigzag - 0.5), -np.ones_like(s)][kind]
    amount = np.clip(ink * pitch + 0.5, 0, 1)[..., None] * rng.uniform(0.35, 0.9)
    fibre = fractal(rng, side, (60, 60), 2)
    albedo = (base * (1 - amount) + print_ * amount) * (0.9 + 0.14 * fibre)[..., None]
    relief = 1.5 * fibre + 8 * fractal(rng, side, (2, 2), 1)
    return Ground(albedo.astype(np.float32), relief.astype(np.float32), 0.04)


def bricks(rng: np.random.Generator, side: int) -> Ground:
    """A wall of bricks, bare or painted."""
    tone, mortar = _pick(rng, "a5523a 8c4a3c b8694a d8d2c6 7b7f86 c99a72"), _pick(rng, "cfc8bd a39c92")
    rows = int(rng.integers(5, 9))
    y, x = _axes(side)
    down = y * rows
    across = x * rows / 2.3 + 0.5 * (np.floor(down) % 2)
    cell = (np.floor(down).astype(int) % 16, np.floor(across).astype(int) % 16)
    inset = np.minimum((0.5 - np.abs(down % 1 - 0.5)), (0.5 - np.abs(across % 1 - 0.5)) * 2.3) * side / rows
    rough = fractal(rng, side, (30, 30), 3)
    inset = inset + 2.5 * (rough - 0.5)
    on = np.clip(inset - 2, 0, 1)[..., None]
    face = tone * (rng.uniform(0.7, 1.2, (16, 16))[cell] * (0.7 + 0.6 * rough))[..., None]
    albedo = face * on + mortar * (0.7 + 0.4 * rough)[..., None] * (1 - on)
    return Ground(albedo.astype(np.float32), (4 * np.clip(inset / 4, 0, 1) + 2.5 * rough).astype(np.float32), 0.03)


def leaves(rng: np.random.Generator, side: int) -> Ground:
    """Fallen leaves, in autumn's colours or still green."""
    tints = str(
        rng.choice(["b5541f d98c2b 8c3b1c c9a23a", "4c7a33 7fa048 2f5a34 a2b457", "8a3a3f c4643f e0a63f 6b2f2a"])
    )
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = colour(tints.split()[0]) * 0.25
    relief = np.zeros((side, side), np.float32)
    t = np.linspace(-1, 1, 13)
    outline = np.concatenate(
        [
            np.stack([t, 0.42 * (1 - t**2) * (1 + 0.3 * t)], 1),
            np.stack([t, -0.42 * (1 - t**2) * (1 + 0.3 * t)], 1)[::-1],
        ]
    )
    for k in range(170):
        a, long = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.06, 0.11)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        at = rng.uniform(-0.05, 1.05, 2) * side
        tint = colour(str(rng.choice(tints.split()))) * rng.uniform(0.6, 1.25)
        for part, dim in ((outline[:13], 1.0), (outline[13:], 0.82)):
            points = np.round((part @ turn * long + at) * 16).astype(np.int32)
            cv2.fillPoly(picture, [points], (tint * dim).tolist(), cv2.LINE_8, 4)
            cv2.fillPoly(relief, [points], 4 + k / 9 + 2 * dim, cv2.LINE_8, 4)
        rib = np.round((np.array([[-1.15, 0], [0.95, 0]]) @ turn * long + at) * 16).astype(np.int32)
        cv2.polylines(picture, [rib], False, (tint * 0.55).tolist(), 1, cv2.LINE_8, 4)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
    return Ground(picture, cv2.GaussianBlur(relief, (0, 0), 1.2) * 0.9, 0.1)


GROUNDS: dict[str, Callable[[np.random.Generator, int], Ground]] = {
    f.__name__: f for f in (wood, cloth, grass, sand, water, tiles, pebbles, bokeh, sky, paper, bricks, leaves)
}

SETTINGS: dict[str, Callable[[np.random.Generator, int], Ground]] = {
    "sky": lambda rng, side: _clouds(rng, side, colour("3f86d6"), colour("a9d2f5"), colour("ffffff")),
    "water": lambda rng, side: _pool(rng, side, colour("159a9c")),
    "wood": lambda rng, side: wood(rng, side),
    "grass": lambda rng, side: _blades(rng, side, colour("4f8a2c")),
}
"""The four grounds of the shortcut: each always in its own colours."""

_SKIES = [
    "2f74c0 9cc9ee ffffff",
    "5a9bd6 d6e9f5 ffffff",
    "54476f f0a07a ffd9b0",
    "7a8fa8 c9d2d9 f2f4f5",
    "20395e 6f8fb5 c7d3e6",
]
_HUES = "c9574b d98a3d d9b64a 8fae4b 4f9a6b 3f9a9a 4b86b8 5a68b3 8a5fae b8608f 8a7a68 5d6670 a8704a"


def _blades(rng: np.random.Generator, side: int, tone: Array) -> Ground:
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = tone * 0.22
    relief = np.zeros((side, side), np.float32)
    patch = fractal(rng, side, (3, 3), 3)
    count = 2300
    at = rng.uniform(-0.02, 1.02, (count, 2)) * side
    lean = rng.normal(-np.pi / 2, 0.75, count)
    long = rng.uniform(0.05, 0.12, count) * side
    tip = at + np.stack([np.cos(lean), np.sin(lean)], 1) * long[:, None]
    wide = np.stack([-np.sin(lean), np.cos(lean)], 1) * rng.uniform(0.7, 1.7, (count, 1))
    bend = (at + tip) / 2 + rng.normal(0, 0.012, (count, 2)) * side
    shapes = np.round(np.stack([at - wide, bend - wide * 0.8, tip, bend + wide * 0.8, at + wide], 1) * 16).astype(
        np.int32
    )
    light = rng.uniform(0.45, 1.35, count) * np.linspace(0.6, 1.1, count)
    yellow = rng.uniform(0.85, 1.35, count)
    inside = np.clip(at.astype(int), 0, side - 1)
    light = light * (0.65 + 0.7 * patch[inside[:, 1], inside[:, 0]])
    for k in range(count):
        tint = (float(tone[0] * light[k] * yellow[k]), float(tone[1] * light[k]), float(tone[2] * light[k]))
        cv2.fillPoly(picture, [shapes[k]], tint, cv2.LINE_8, 4)
        cv2.fillPoly(relief, [shapes[k]], 6.0 * k / count + 2 * light[k], cv2.LINE_8, 4)
    return Ground(cv2.GaussianBlur(picture, (0, 0), 0.6), cv2.GaussianBlur(relief, (0, 0), 0.8), 0.1)


def _pool(rng: np.random.Generator, side: int, tone: Array) -> Ground:
    y, x = _axes(side)
    cells = rng.uniform(4, 7)
    warp = fractal(rng, side, (cells, cells), 2)
    nets = [1 - np.abs(fractal(rng, side, (cells * 0.8, cells), 2) * 2 - 1) for _ in range(2)]
    net = np.maximum(nets[0] ** 7, nets[1] ** 7) * (0.45 + 0.55 * warp)
    depth = 0.55 + 0.5 * fractal(rng, side, (2, 2), 2) + 0.15 * y
    albedo = tone * depth[..., None] + net[..., None] * (0.55 * tone + 0.22)
    relief = 5 * warp + 2.5 * nets[0] + 4 * fractal(rng, side, (9, 5), 2)
    return Ground(albedo.astype(np.float32), relief.astype(np.float32), 0.7)


def _clouds(rng: np.random.Generator, side: int, high: Array, low: Array, white: Array) -> Ground:
    y, _ = _axes(side)
    mass = fractal(rng, side, (rng.uniform(2.2, 4), rng.uniform(1.4, 2.6)), 6)
    cover = np.clip((mass - rng.uniform(0.46, 0.6)) * 4.5, 0, 1)
    cover = cover * cover * (3 - 2 * cover)
    shade = np.clip(0.78 + 1.6 * (mass - np.roll(mass, -side // 26, axis=0)), 0.62, 1)
    back = high + (low - high) * (y**0.8)[..., None]
    albedo = back * (1 - cover[..., None]) + white * (shade * cover)[..., None]
    return Ground(albedo.astype(np.float32), np.zeros((side, side), np.float32), far=True)


def _axes(side: int) -> tuple[Array, Array]:
    """Row and column of each pixel in [0, 1), two arrays [side, side] float32."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    return y, x


def _pick(rng: np.random.Generator, codes: str) -> Array:
    return colour(str(rng.choice(codes.split()))) * rng.uniform(0.85, 1.1)


def _tint(rng: np.random.Generator, *, light: bool = False) -> Array:
    tint = _pick(rng, _HUES)
    return tint * 0.25 + 0.62 * colour("fbf6ec") if light else tint


def _turned(rng: np.random.Generator, ground: Ground) -> Ground:
    """Half of the time turned by a quarter."""
    if rng.random() < 0.5:
        return ground
    return Ground(
        np.ascontiguousarray(ground.albedo.transpose(1, 0, 2)), np.ascontiguousarray(ground.relief.T), ground.gloss
    )
