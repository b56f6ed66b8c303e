"""The built-in sample sets: drawn by ftlab itself, so that there is something to train on with no download.

`shapes` asks for nothing but a good look at the object. `shortcut` sets a trap: in train and val each class has a
ground of its own, in test never its own; who looks at the ground is found out by the test and by Grad-CAM.

A picture is a function of (set, version, split, class, index) alone, whatever else is drawn, when, and by how many
threads.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.samples.drawing.grounds import GROUNDS, SETTINGS
from ftlab.data.samples.drawing.palette import PALETTES, Palette
from ftlab.data.samples.drawing.scene import Lamp, render, rotation
from ftlab.data.samples.drawing.texture import Ground, Maker
from ftlab.data.samples.drawing.toys import TOYS

SIDE = 288
"""Pixels of a picture's side."""

SPLITS = ("train", "val", "test")

# Whoever changes a single pixel raises the version: folders that were drawn before stay what they are.
_VERSION = 1
_SEED = 20


@dataclass(frozen=True)
class SampleSet:
    """What a sample set holds.

    Attributes:
        classes: names, in order.
        counts: pictures of each class in train, val and test.
        span: range of the object's size: side of the square as large as its bounding box, as a share of the picture's.
        traps: each class's own ground in train and val, by class; empty where the ground means nothing.
    """

    classes: tuple[str, ...]
    counts: tuple[int, int, int]
    span: tuple[float, float]
    traps: dict[str, str]


SETS: dict[str, SampleSet] = {
    "shapes": SampleSet(tuple(TOYS), (32, 24, 24), (0.56, 0.78), {}),
    "shortcut": SampleSet(
        ("balloon", "fish", "mug", "mushroom"),
        (40, 16, 18),
        (0.26, 0.34),
        {"balloon": "sky", "fish": "water", "mug": "wood", "mushroom": "grass"},
    ),
}


def picture(name: str, split: str, label: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws one picture of a set.

    Args:
        name: of the set, a key of `SETS`.
        split: `train`, `val` or `test`.
        label: its class.
        index: its number within split and class, from 0.

    Returns:
        picture [SIDE, SIDE, 3] uint8 sRGB, and the object's mask [SIDE, SIDE] bool, shadow left out.
    """
    chosen = SETS[name]
    rng = np.random.default_rng([_SEED, _VERSION, zlib.crc32(f"{name}/{split}/{label}".encode()), index])
    ground = _ground(chosen, split, label, index)(rng, SIDE)
    palette = _palette(rng, ground, alike=bool(chosen.traps))
    toy = TOYS[label]
    yaw = rng.uniform(*toy.yaw)
    yaw = yaw if rng.random() < 0.5 else 180 - yaw
    turn = rotation(yaw, rng.uniform(*toy.pitch), rng.uniform(*toy.roll))
    span = rng.uniform(*chosen.span) * toy.size * SIDE
    place = (float(rng.random()), float(rng.random()))
    lit, cover = render(toy.make(rng, palette), turn, span, place, ground, _lamp(rng))
    return _develop(rng, lit), cover > 0.5


def ensure(name: str, home: Path | None = None, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of a sample set's pictures, laid out `train|val|test/<class>/NNN.jpg`; drawn when it is not there.

    The set appears at once and whole (`places.fresh`).

    Args:
        name: a key of `SETS`.
        home: where ftlab keeps its own things; `places.home()` if None.
        progress: called now and then with pictures drawn and pictures in all, from this thread.

    Raises:
        DataError: the set cannot be written there.
    """
    folder = (home or user_dirs.home()) / "samples" / f"{name}-v{_VERSION}"
    if folder.is_dir():
        return folder / "pictures"
    try:
        with user_dirs.fresh(folder) as draft:
            _draw(name, draft, progress)
    except OSError as cause:
        raise DataError("sample.write", folder=folder.parent, cause=cause) from cause
    return folder / "pictures"


def mask(picture: Path) -> np.ndarray:
    """Where the object is, [H, W] bool, in a picture that `ensure` wrote.

    Raises:
        FileNotFoundError: the file is no picture of a sample set.
    """
    split, label = picture.parts[-3:-1]
    with Image.open(picture.parents[3] / "masks" / split / label / f"{picture.stem}.png") as file:
        return np.asarray(file.convert("L")) > 127


def _draw(name: str, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    chosen = SETS[name]
    jobs = [
        (split, label, index)
        for split, count in zip(SPLITS, chosen.counts, strict=True)
        for label in chosen.classes
        for index in range(count)
    ]
    for kind in ("pictures", "masks"):
        for split in SPLITS:
            for label in chosen.classes:
                (folder / kind / split / label).mkdir(parents=True)

    def write(job: tuple[str, str, int]) -> None:
        split, label, index = job
        pixels, cover = picture(name, split, label, index)
        path = folder / "pictures" / split / label / f"{index:03d}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        path = folder / "masks" / split / label / f"{index:03d}.png"
        Image.fromarray(cover.astype(np.uint8) * 255).save(path)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for done, _ in enumerate(pool.map(write, jobs), start=1):
                if progress:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ground(chosen: SampleSet, split: str, label: str, index: int) -> Maker:
    place = chosen.classes.index(label)
    if not chosen.traps:
        # Every class meets every ground equally often: the ground tells nothing.
        return GROUNDS[(index + 5 * place) % len(GROUNDS)]
    if split == "test":
        others = len(chosen.classes) - 1
        label = chosen.classes[(place + 1 + index % others) % (others + 1)]
    return SETTINGS[chosen.traps[label]]


def _palette(rng: np.random.Generator, ground: Ground, *, alike: bool) -> Palette:
    """Of three palettes the one that stands out best from the ground, or, `alike`, least."""
    drawn = [PALETTES[i] for i in rng.choice(len(PALETTES), 3, replace=False)]
    mean = ground.mean**0.45
    far = [float(np.linalg.norm(palette[0] ** 0.45 - mean)) for palette in drawn]
    return drawn[int(np.argmin(far) if alike else np.argmax(far))]


def _lamp(rng: np.random.Generator) -> Lamp:
    across, up = np.deg2rad(rng.uniform(40, 140)), np.deg2rad(rng.uniform(40, 58))
    towards = np.array([np.cos(across) * np.cos(up), np.sin(across) * np.cos(up), np.sin(up)], np.float32)
    warmth, power = rng.uniform(-0.1, 0.12), rng.uniform(0.95, 1.25)
    tint = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(power)
    sky = np.array([0.36 - warmth / 3, 0.39, 0.44 + warmth / 3], np.float32)
    return Lamp(towards, tint, sky)


def _develop(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """uint8 sRGB of linear light: a soft shoulder, the lens's blur and dark corners, the sensor's noise."""
    light = np.where(light > 0.75, 0.75 + 0.25 * np.tanh((light - 0.75) / 0.25), np.maximum(light, 0))
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    light = light * (1 - 0.16 * (x * x + y * y) / 2)[..., None]
    curve = cv2.GaussianBlur(light.astype(np.float32) ** np.float32(1 / 2.2), (0, 0), rng.uniform(0.25, 0.7))
    noise = rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32) * np.float32(rng.uniform(0.003, 0.012))
    return np.clip((curve + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
