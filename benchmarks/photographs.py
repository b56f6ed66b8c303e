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


def cut_photographs(source: Path, target: Path, *, file_count: int, class_count: int, size: tuple[int, int]) -> Path:
    """`file_count` JPEG files of about `size` (width, height), in `class_count` folders below `target`, each of another content.

    Args:
        source: a folder with photographs below it.
        target: is made; what is there already stays.
    """
    photographs = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for label in range(class_count):
        (target / f"class_{label:03d}").mkdir(parents=True, exist_ok=True)
    jobs = enumerate(islice(cycle(photographs), file_count))
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda job: _write_cut(job[0], job[1], target, class_count, size), jobs):
            pass
    return target


def link_photographs(source: Path, target: Path, *, file_count: int, class_count: int) -> Path:
    """`file_count` files in `class_count` folders below `target`, that share the bytes of those below `source` on the disk."""
    files = sorted(path for path in source.rglob("*.jpg"))
    for label in range(class_count):
        (target / f"class_{label:03d}").mkdir(parents=True, exist_ok=True)
    for index, file_path in enumerate(islice(cycle(files), file_count)):
        os.link(file_path, target / f"class_{index % class_count:03d}" / f"{index:06d}.jpg")
    return target


def _write_cut(index: int, photograph: Path, target: Path, class_count: int, size: tuple[int, int]) -> None:
    path = target / f"class_{index % class_count:03d}" / f"{index:05d}.jpg"
    if path.exists():
        return
    rng = np.random.default_rng(index)
    width, height = (round(side * rng.uniform(0.85, 1.15)) for side in size)
    with Image.open(photograph) as image:
        image.draft("RGB", (2 * width, 2 * height))
        full_image = image.convert("RGB")
    scale = rng.uniform(0.6, 0.95)
    w, h = round(full_image.width * scale), round(full_image.height * scale)
    x, y = int(rng.integers(0, full_image.width - w + 1)), int(rng.integers(0, full_image.height - h + 1))
    cropped = full_image.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h))
    cropped.save(path, quality=88)
