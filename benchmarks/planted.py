"""Faults planted into a copy of a folder of pictures, to see whether the doctor finds them."""

from __future__ import annotations

import io
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ftlab.data.images.decode import EXTENSIONS


@dataclass
class Planted:
    """What was planted, as paths relative to the folder.

    Attributes:
        exact, near: of each copy, the original.
        swapped: pictures that lie in a wrong class folder now.
        blank: pictures of nothing.
    """

    exact: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    swapped: set[str] = field(default_factory=set)
    blank: set[str] = field(default_factory=set)


def plant(
    source: Path, folder: Path, seed: int, *, exact: int = 20, near: int = 20, swapped: int = 10, blank: int = 5
) -> Planted:
    """Copy `source`, with `train/` and `val/`, to `folder`, and plant faults there: copies of training pictures go to
    validation, training pictures change class, blank pictures go anywhere.
    """
    shutil.copytree(source, folder)
    dice, done = random.Random(seed), Planted()
    classes = sorted(one.name for one in (folder / "train").iterdir() if one.is_dir())
    there = sorted(
        path
        for path in (folder / "train").rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.stat().st_size > 3000
    )
    chosen = dice.sample(there, exact + near + swapped)

    def named(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    for number, path in enumerate(chosen[:exact]):
        copy = folder / "val" / path.parent.name / f"copy_{number}{path.suffix}"
        shutil.copyfile(path, copy)
        done.exact[named(copy)] = named(path)
    for number, path in enumerate(chosen[exact : exact + near]):
        copy = folder / "val" / path.parent.name / f"again_{number}.jpg"
        reencode(path, copy, share=dice.uniform(0.4, 0.9), quality=dice.randint(50, 90))
        done.near[named(copy)] = named(path)
    for number, path in enumerate(chosen[exact + near :]):
        other = dice.choice([name for name in classes if name != path.parent.name])
        moved = folder / "train" / other / f"swapped_{number}{path.suffix}"
        shutil.move(path, moved)
        done.swapped.add(named(moved))
    for number in range(blank):
        file = folder / dice.choice(("train", "val")) / dice.choice(classes) / f"blank_{number}.jpg"
        file.write_bytes(nothing(dice))
        done.blank.add(named(file))
    return done


def reencode(source: Path, target: Path, *, share: float, quality: int) -> None:
    """The same picture, its sides `share` times as long, as a JPEG of that quality."""
    with Image.open(source) as image:
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target, "JPEG", quality=quality)


def nothing(dice: random.Random) -> bytes:
    """A JPEG of one colour, with the grain of a camera."""
    noise = np.random.default_rng(dice.randrange(2**32)).normal(0, dice.choice((0, 1, 3)), (300, 400, 3))
    colour = [dice.randrange(256) for _ in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()
