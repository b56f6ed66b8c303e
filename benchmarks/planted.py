"""Faults planted into a copy of an image folder, to measure whether the data audit finds them."""

from __future__ import annotations

import io
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ftlab.data.images.decode import IMAGE_SUFFIXES


@dataclass
class PlantedFaults:
    """Planted faults, as paths relative to the folder.

    Attributes:
        exact_copies, near_copies: original of each copy.
        swapped_images: images moved to a wrong class folder.
        blank_images: images of a single color.
    """

    exact_copies: dict[str, str] = field(default_factory=dict)
    near_copies: dict[str, str] = field(default_factory=dict)
    swapped_images: set[str] = field(default_factory=set)
    blank_images: set[str] = field(default_factory=set)


def plant_faults(
    source: Path,
    folder: Path,
    seed: int,
    *,
    exact_count: int = 20,
    near_count: int = 20,
    swapped_count: int = 10,
    blank_count: int = 5,
) -> PlantedFaults:
    """Copy an image folder and plant faults in the copy.

    Copies of training images go to validation, training images change class, blank images go anywhere.

    Args:
        source: folder with `train/` and `val/`.
        folder: target of the copy.
        seed: seed of the random choices.
        exact_count: byte-identical copies.
        near_count: scaled and re-encoded copies.
        swapped_count: images with a wrong class.
        blank_count: blank images.

    Returns:
        The planted faults.
    """
    shutil.copytree(source, folder)
    rng, faults = random.Random(seed), PlantedFaults()
    class_names = sorted(class_folder.name for class_folder in (folder / "train").iterdir() if class_folder.is_dir())
    candidates = sorted(
        path
        for path in (folder / "train").rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stat().st_size > 3000  # tiny files may be blank themselves
    )
    # Disjoint images for the kinds, so that each finding has one cause.
    selected = rng.sample(candidates, exact_count + near_count + swapped_count)

    def relative_name(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    for index, path in enumerate(selected[:exact_count]):
        copy_path = folder / "val" / path.parent.name / f"copy_{index}{path.suffix}"
        shutil.copyfile(path, copy_path)
        faults.exact_copies[relative_name(copy_path)] = relative_name(path)
    for index, path in enumerate(selected[exact_count : exact_count + near_count]):
        copy_path = folder / "val" / path.parent.name / f"again_{index}.jpg"
        reencode_image(path, copy_path, scale=rng.uniform(0.4, 0.9), quality=rng.randint(50, 90))
        faults.near_copies[relative_name(copy_path)] = relative_name(path)
    for index, path in enumerate(selected[exact_count + near_count :]):
        new_class = rng.choice([name for name in class_names if name != path.parent.name])
        moved_path = folder / "train" / new_class / f"swapped_{index}{path.suffix}"
        shutil.move(path, moved_path)
        faults.swapped_images.add(relative_name(moved_path))
    for index in range(blank_count):
        blank_path = folder / rng.choice(("train", "val")) / rng.choice(class_names) / f"blank_{index}.jpg"
        blank_path.write_bytes(make_blank_jpeg(rng))
        faults.blank_images.add(relative_name(blank_path))
    return faults


def reencode_image(source: Path, target: Path, *, scale: float, quality: int) -> None:
    """Write an image scaled by `scale` as a JPEG.

    Args:
        source: file of the image.
        target: file to write.
        scale: factor on both sides.
        quality: JPEG quality, 1 to 95.
    """
    with Image.open(source) as image:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target, "JPEG", quality=quality)


def make_blank_jpeg(rng: random.Random) -> bytes:
    """Return a JPEG of a single color, with the noise of a camera."""
    # From none to visible noise, in levels of 255.
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.choice((0, 1, 3)), (300, 400, 3))
    colour = [rng.randrange(256) for _ in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()
