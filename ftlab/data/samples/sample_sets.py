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
from ftlab.data.samples.drawing.grounds import BACKGROUNDS, CLASS_BACKGROUNDS
from ftlab.data.samples.drawing.palette import PALETTES, Palette
from ftlab.data.samples.drawing.scene import Lighting, render_scene, rotation_matrix
from ftlab.data.samples.drawing.texture import Background, BackgroundPainter
from ftlab.data.samples.drawing.toys import TOYS

IMAGE_SIDE_PIXELS = 288
"""Pixels of a picture's side."""

SPLITS = ("train", "val", "test")

# Whoever changes a single pixel raises the version: folders that were drawn before stay what they are.
_VERSION = 1
_SEED = 20


@dataclass(frozen=True)
class SampleSet:
    """What a sample set holds.

    Attributes:
        class_names: names, in order.
        split_counts: pictures of each class in train, val and test.
        size_range: range of the object's size: side of the square as large as its bounding box, as a share of the picture's.
        class_backgrounds: each class's own ground in train and val, by class; empty where the ground means nothing.
    """

    class_names: tuple[str, ...]
    split_counts: tuple[int, int, int]
    size_range: tuple[float, float]
    class_backgrounds: dict[str, str]


SAMPLE_SETS: dict[str, SampleSet] = {
    "shapes": SampleSet(tuple(TOYS), (32, 24, 24), (0.56, 0.78), {}),
    "shortcut": SampleSet(
        ("balloon", "fish", "mug", "mushroom"),
        (40, 16, 18),
        (0.26, 0.34),
        {"balloon": "sky", "fish": "water", "mug": "wood", "mushroom": "grass"},
    ),
}


def draw_image(set_name: str, split: str, label: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws one picture of a set.

    Args:
        set_name: of the set, a key of `SAMPLE_SETS`.
        split: `train`, `val` or `test`.
        label: its class.
        index: its number within split and class, from 0.

    Returns:
        picture [SIDE, SIDE, 3] uint8 sRGB, and the object's mask [SIDE, SIDE] bool, shadow left out.
    """
    sample_set = SAMPLE_SETS[set_name]
    rng = np.random.default_rng([_SEED, _VERSION, zlib.crc32(f"{set_name}/{split}/{label}".encode()), index])
    background = _choose_background(sample_set, split, label, index)(rng, IMAGE_SIDE_PIXELS)
    palette = _choose_palette(rng, background, low_contrast=bool(sample_set.class_backgrounds))
    toy = TOYS[label]
    yaw = rng.uniform(*toy.yaw_range)
    yaw = yaw if rng.random() < 0.5 else 180 - yaw
    object_rotation = rotation_matrix(yaw, rng.uniform(*toy.pitch_range), rng.uniform(*toy.roll_range))
    object_span = rng.uniform(*sample_set.size_range) * toy.size_factor * IMAGE_SIDE_PIXELS
    position = (float(rng.random()), float(rng.random()))
    linear_image, coverage = render_scene(
        toy.build_surfaces(rng, palette), object_rotation, object_span, position, background, _random_lighting(rng)
    )
    return _develop_photo(rng, linear_image), coverage > 0.5


def ensure_sample_set(
    set_name: str, home: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The folder of a sample set's pictures, laid out `train|val|test/<class>/NNN.jpg`; drawn when it is not there.

    The set appears at once and whole (`places.fresh`).

    Args:
        set_name: a key of `SAMPLE_SETS`.
        home: where ftlab keeps its own things; `places.home()` if None.
        progress: called now and then with pictures drawn and pictures in all, from this thread.

    Raises:
        DataError: the set cannot be written there.
    """
    folder = (home or user_dirs.get_ftlab_home()) / "samples" / f"{set_name}-v{_VERSION}"
    if folder.is_dir():
        return folder / "pictures"
    try:
        with user_dirs.atomic_folder(folder) as draft:
            _draw_sample_set(set_name, draft, progress)
    except OSError as cause:
        raise DataError("sample.write", folder=folder.parent, cause=cause) from cause
    return folder / "pictures"


def load_mask(image_path: Path) -> np.ndarray:
    """Where the object is, [H, W] bool, in a picture that `ensure_sample_set` wrote.

    Raises:
        FileNotFoundError: the file is no picture of a sample set.
    """
    split, label = image_path.parts[-3:-1]
    with Image.open(image_path.parents[3] / "masks" / split / label / f"{image_path.stem}.png") as mask_image:
        return np.asarray(mask_image.convert("L")) > 127


def _draw_sample_set(set_name: str, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    sample_set = SAMPLE_SETS[set_name]
    jobs = [
        (split, label, index)
        for split, count in zip(SPLITS, sample_set.split_counts, strict=True)
        for label in sample_set.class_names
        for index in range(count)
    ]
    for kind in ("pictures", "masks"):
        for split in SPLITS:
            for label in sample_set.class_names:
                (folder / kind / split / label).mkdir(parents=True)

    def write_image(job: tuple[str, str, int]) -> None:
        split, label, index = job
        pixels, coverage = draw_image(set_name, split, label, index)
        path = folder / "pictures" / split / label / f"{index:03d}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        path = folder / "masks" / split / label / f"{index:03d}.png"
        Image.fromarray(coverage.astype(np.uint8) * 255).save(path)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for drawn_count, _ in enumerate(pool.map(write_image, jobs), start=1):
                if progress:
                    progress(drawn_count, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _choose_background(sample_set: SampleSet, split: str, label: str, index: int) -> BackgroundPainter:
    class_index = sample_set.class_names.index(label)
    if not sample_set.class_backgrounds:
        # Every class meets every ground equally often: the ground tells nothing.
        return BACKGROUNDS[(index + 5 * class_index) % len(BACKGROUNDS)]
    if split == "test":
        other_count = len(sample_set.class_names) - 1
        label = sample_set.class_names[(class_index + 1 + index % other_count) % (other_count + 1)]
    return CLASS_BACKGROUNDS[sample_set.class_backgrounds[label]]


def _choose_palette(rng: np.random.Generator, background: Background, *, low_contrast: bool) -> Palette:
    """Of three palettes the one that stands out best from the ground, or, `low_contrast`, least."""
    candidates = [PALETTES[i] for i in rng.choice(len(PALETTES), 3, replace=False)]
    background_mean = background.mean_color**0.45
    distances = [float(np.linalg.norm(palette[0] ** 0.45 - background_mean)) for palette in candidates]
    return candidates[int(np.argmin(distances) if low_contrast else np.argmax(distances))]


def _random_lighting(rng: np.random.Generator) -> Lighting:
    azimuth, elevation = np.deg2rad(rng.uniform(40, 140)), np.deg2rad(rng.uniform(40, 58))
    direction = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], np.float32
    )
    warmth, power = rng.uniform(-0.1, 0.12), rng.uniform(0.95, 1.25)
    color = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(power)
    ambient = np.array([0.36 - warmth / 3, 0.39, 0.44 + warmth / 3], np.float32)
    return Lighting(direction, color, ambient)


def _develop_photo(rng: np.random.Generator, linear_image: np.ndarray) -> np.ndarray:
    """uint8 sRGB of linear light: a soft shoulder, the lens's blur and dark corners, the sensor's noise."""
    linear_image = np.where(
        linear_image > 0.75, 0.75 + 0.25 * np.tanh((linear_image - 0.75) / 0.25), np.maximum(linear_image, 0)
    )
    y, x = np.mgrid[-1 : 1 : IMAGE_SIDE_PIXELS * 1j, -1 : 1 : IMAGE_SIDE_PIXELS * 1j].astype(np.float32)
    linear_image = linear_image * (1 - 0.16 * (x * x + y * y) / 2)[..., None]
    encoded_image = cv2.GaussianBlur(
        linear_image.astype(np.float32) ** np.float32(1 / 2.2), (0, 0), rng.uniform(0.25, 0.7)
    )
    noise = rng.standard_normal((IMAGE_SIDE_PIXELS, IMAGE_SIDE_PIXELS, 1), dtype=np.float32) * np.float32(
        rng.uniform(0.003, 0.012)
    )
    return np.clip((encoded_image + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
