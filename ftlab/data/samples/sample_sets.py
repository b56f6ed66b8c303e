"""Built-in sample data sets, rendered by ftlab itself so that a training needs no download.

In `shapes` only the object tells the class. `shortcut` sets a trap (shortcut learning): in train and val each class has
a background of its own, in test never that one; a network that looks at the background is exposed by the test split and
by Grad-CAM.

An image is a function of (set, version, split, class, index) alone, whatever else is rendered, when, and by how many
threads.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ftlab.core import file_io, user_dirs
from ftlab.core.errors import DataError
from ftlab.data.images.decode import ImageArray
from ftlab.data.samples.drawing.grounds import BACKGROUNDS, CLASS_BACKGROUNDS
from ftlab.data.samples.drawing.palette import PALETTES, Palette
from ftlab.data.samples.drawing.scene import Lighting, render_scene, rotation_matrix
from ftlab.data.samples.drawing.surfaces import Array
from ftlab.data.samples.drawing.texture import Background, BackgroundPainter
from ftlab.data.samples.drawing.toys import TOYS

IMAGE_SIDE_PIXELS = 288
"""Width and height of an image."""

SPLITS = ("train", "val", "test")

# Must be raised with any change of a pixel: folders that were rendered before stay what they are.
_VERSION = 1
_SEED = 20


_Job = tuple[str, str, int]
"""Split, class and index of an image."""


@dataclass(frozen=True)
class SampleSet:
    """Contents of a sample set.

    Attributes:
        class_names: names of the classes, by label.
        split_counts: images of each class in train, val and test.
        size_range: range of the object's size: side of the square with the area of its bounding box, as a fraction of
            the image's side.
        class_backgrounds: background of each class in train and val, by class; empty if backgrounds mean nothing.
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


def draw_image(set_name: str, split: str, label: str, index: int) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
    """Render one image of a set.

    Args:
        set_name: a key of `SAMPLE_SETS`.
        split: `train`, `val` or `test`.
        label: name of its class.
        index: within split and class, from 0.

    Returns:
        The image, uint8 [S, S, 3] sRGB, and the object's mask without its shadow, bool [S, S].
    """
    sample_set = SAMPLE_SETS[set_name]
    rng = np.random.default_rng([_SEED, _VERSION, zlib.crc32(f"{set_name}/{split}/{label}".encode()), index])
    # The order of the draws must not change: it determines every pixel.
    background = _choose_background(sample_set, split, label, index)(rng, IMAGE_SIDE_PIXELS)
    palette = _choose_palette(rng, background, low_contrast=bool(sample_set.class_backgrounds))
    toy = TOYS[label]
    yaw = rng.uniform(*toy.yaw_range)
    yaw = yaw if rng.random() < 0.5 else 180 - yaw  # facing left or right
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
    """Return the folder of a sample set's images, `train|val|test/<class>/NNN.jpg`; render them if it does not exist.

    The set appears in one step, complete (`user_dirs.atomic_folder`). Files that have vanished or were emptied are
    rendered again, as they were; damage to others is found by the scan, as with any images.

    Args:
        set_name: a key of `SAMPLE_SETS`.
        home: ftlab's home folder; by default `user_dirs.get_ftlab_home()`.
        progress: called with the number of rendered images and the total, from this thread.

    Raises:
        DataError: the set cannot be written there.
    """
    folder = (home or user_dirs.get_ftlab_home()) / "samples" / f"{set_name}-v{_VERSION}"
    try:
        if folder.is_dir():
            _draw_images(set_name, folder, _find_missing_jobs(set_name, folder), None)
            return folder / "pictures"
        with user_dirs.atomic_folder(folder) as draft:
            _draw_sample_set(set_name, draft, progress)
    except OSError as cause:
        raise DataError("sample.write", folder=folder.parent, cause=cause) from cause
    return folder / "pictures"


def load_mask(image_path: Path) -> npt.NDArray[np.bool_]:
    """Return the object's mask, bool [H, W], of an image that `ensure_sample_set` wrote.

    A file that belongs to no sample set is a `FileNotFoundError`.
    """
    split, label = image_path.parts[-3:-1]
    with Image.open(image_path.parents[3] / "masks" / split / label / f"{image_path.stem}.png") as mask_image:
        return np.asarray(mask_image.convert("L")) > 127


def _draw_sample_set(set_name: str, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    """Render all images and masks of a set into `folder`."""
    _draw_images(set_name, folder, list(_list_jobs(set_name)), progress)


def _list_jobs(set_name: str) -> Iterator[_Job]:
    """Yield the images of a set."""
    sample_set = SAMPLE_SETS[set_name]
    for split, count in zip(SPLITS, sample_set.split_counts, strict=True):
        for label in sample_set.class_names:
            for index in range(count):
                yield split, label, index


def _get_files(job: _Job) -> tuple[str, str]:
    """Return the files of an image and of its mask, as POSIX paths below the folder of the set."""
    split, label, index = job
    return f"pictures/{split}/{label}/{index:03d}.jpg", f"masks/{split}/{label}/{index:03d}.png"


def _find_missing_jobs(set_name: str, folder: Path) -> list[_Job]:
    """Return the images of a rendered set that have no file, or an empty one, or a mask of that kind."""
    # Every use of a set asks: a thousand `Path` objects would take most of the time.
    prefix_length = len(str(folder)) + 1
    filled_files = {
        path[prefix_length:].replace(os.sep, "/")
        for path, file_stat in file_io.iter_files(folder)
        if file_stat.st_size > 0
    }
    return [job for job in _list_jobs(set_name) if not filled_files.issuperset(_get_files(job))]


def _draw_images(
    set_name: str, folder: Path, jobs: Sequence[_Job], progress: Callable[[int, int], None] | None
) -> None:
    """Render some images of a set, and their masks.

    Args:
        set_name: a key of `SAMPLE_SETS`.
        folder: of the set.
        jobs: images to render.
        progress: called with the number of rendered images and the total, from this thread.
    """

    def write_image(job: _Job) -> None:
        pixels, coverage = draw_image(set_name, *job)
        image_file, mask_file = (folder / file for file in _get_files(job))
        for file in (image_file, mask_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        # JPEG as photographs are; the masks must be exact.
        Image.fromarray(pixels).save(image_file, quality=90)
        Image.fromarray(coverage.astype(np.uint8) * 255).save(mask_file)

    # OpenCV and NumPy release the interpreter lock in their large operations.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for drawn_count, _ in enumerate(pool.map(write_image, jobs), start=1):
                if progress:
                    progress(drawn_count, len(jobs))
        except BaseException:  # Ctrl-C too: without this, leaving the context would render all images first
            pool.shutdown(cancel_futures=True)
            raise


def _choose_background(sample_set: SampleSet, split: str, label: str, index: int) -> BackgroundPainter:
    """Return the painter of an image's background."""
    class_index = sample_set.class_names.index(label)
    if not sample_set.class_backgrounds:
        # Every class gets every background equally often, so that the background does not tell the class.
        return BACKGROUNDS[(index + 5 * class_index) % len(BACKGROUNDS)]
    if split == "test":
        other_count = len(sample_set.class_names) - 1
        # In turn the background of each other class.
        label = sample_set.class_names[(class_index + 1 + index % other_count) % (other_count + 1)]
    return CLASS_BACKGROUNDS[sample_set.class_backgrounds[label]]


def _choose_palette(rng: np.random.Generator, background: Background, *, low_contrast: bool) -> Palette:
    """Return the one of three random palettes that contrasts best with the background, or least with `low_contrast`."""
    candidates = [PALETTES[i] for i in rng.choice(len(PALETTES), 3, replace=False)]
    # Distances in approximately sRGB (power 1 / 2.2), as seen by the eye, not in linear light.
    background_mean = background.mean_color**0.45
    distances = [float(np.linalg.norm(palette[0] ** 0.45 - background_mean)) for palette in candidates]
    return candidates[int(np.argmin(distances) if low_contrast else np.argmax(distances))]


def _random_lighting(rng: np.random.Generator) -> Lighting:
    """Return random lighting: a warm or cold lamp from above, and skylight."""
    azimuth, elevation = np.deg2rad(rng.uniform(40, 140)), np.deg2rad(rng.uniform(40, 58))
    direction = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], np.float32
    )
    # A warm lamp goes with a bluer sky, and the other way round.
    warmth, power = rng.uniform(-0.1, 0.12), rng.uniform(0.95, 1.25)
    color = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(power)
    ambient = np.array([0.36 - warmth / 3, 0.39, 0.44 + warmth / 3], np.float32)
    return Lighting(direction, color, ambient)


def _develop_photo(rng: np.random.Generator, linear_image: Array) -> ImageArray:
    """Return linear light as uint8 sRGB: soft highlights, lens blur, vignetting and sensor noise."""
    # A shoulder as of film: highlights saturate smoothly instead of clipping.
    linear_image = np.where(
        linear_image > 0.75,
        0.75 + 0.25 * np.tanh((linear_image - 0.75) / 0.25),
        np.maximum(linear_image, 0),
    )
    # Vignetting: darker towards the corners.
    y, x = np.mgrid[-1 : 1 : IMAGE_SIDE_PIXELS * 1j, -1 : 1 : IMAGE_SIDE_PIXELS * 1j].astype(np.float32)
    linear_image = linear_image * (1 - 0.16 * (x * x + y * y) / 2)[..., None]
    encoded_image = cv2.GaussianBlur(
        linear_image.astype(np.float32) ** np.float32(1 / 2.2), (0, 0), rng.uniform(0.25, 0.7)
    )
    noise = rng.standard_normal((IMAGE_SIDE_PIXELS, IMAGE_SIDE_PIXELS, 1), dtype=np.float32) * np.float32(
        rng.uniform(0.003, 0.012)
    )
    return np.clip((encoded_image + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
