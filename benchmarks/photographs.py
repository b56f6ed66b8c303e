"""Folders of many photographs, made from the few that are here: other cuts of them, at other sizes.

What is measured on them is time and memory. What a network learns from them means nothing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image


def cut(source: Path, to: Path, *, count: int, classes: int, size: tuple[int, int]) -> Path:
    """`count` JPEG files of about `size` (width, height), in `classes` folders below `to`, each of another content.

    Args:
        source: a folder with photographs below it.
        to: is made; what is there already stays.
    """
    photographs = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for label in range(classes):
        (to / f"class_{label:03d}").mkdir(parents=True, exist_ok=True)
    jobs = enumerate(islice(cycle(photographs), count))
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda job: _one(job[0], job[1], to, classes, size), jobs):
            pass
    return to


def linked(source: Path, to: Path, *, count: int, classes: int) -> Path:
    """`count` files in `classes` folders below `to`, that share the bytes of those below `source` on the disk."""
    files = sorted(path for path in source.rglob("*.jpg"))
    for label in range(classes):
        (to / f"class_{label:03d}").mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(islice(cycle(files), count)):
        os.link(file, to / f"class_{number % classes:03d}" / f"{number:06d}.jpg")
    return to


def _one(number: int, photograph: Path, to: Path, classes: int, size: tuple[int, int]) -> None:
    file = to / f"class_{number % classes:03d}" / f"{number:05d}.jpg"
    if file.exists():
        return
    dice = np.random.default_rng(number)
    width, height = (round(side * dice.uniform(0.85, 1.15)) for side in size)
    with Image.open(photograph) as image:
        image.draft("RGB", (2 * width, 2 * height))
        whole = image.convert("RGB")
    share = dice.uniform(0.6, 0.95)
    w, h = round(whole.width * share), round(whole.height * share)
    x, y = int(dice.integers(0, whole.width - w + 1)), int(dice.integers(0, whole.height - h + 1))
    picture = whole.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h))
    picture.save(file, quality=88)
