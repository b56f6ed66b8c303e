"""Folders of many photographs, made from a few: other crops of them, at other sizes.

For measurements of time and memory only; what a network learns from them means nothing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image


def cut_photographs(source: Path, target: Path, *, file_count: int, class_count: int, size: tuple[int, int]) -> Path:
    """Write JPEG files of different content, cut from photographs, into class folders.

    Args:
        source: folder with photographs anywhere below it.
        target: is created; existing files stay.
        file_count: files in total.
        class_count: folders.
        size: approximate width and height in pixels.

    Returns:
        `target`.
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
    """Write hard links to photographs into class folders: many files, few bytes on disk.

    Args:
        source: folder with photographs anywhere below it.
        target: is created.
        file_count: files in total.
        class_count: folders.

    Returns:
        `target`.
    """
    files = sorted(path for path in source.rglob("*.jpg"))
    for label in range(class_count):
        (target / f"class_{label:03d}").mkdir(parents=True, exist_ok=True)
    for index, file_path in enumerate(islice(cycle(files), file_count)):
        # 100,000 files take the disk space of 1,000, and the page cache holds them all.
        os.link(file_path, target / f"class_{index % class_count:03d}" / f"{index:06d}.jpg")
    return target


def _write_cut(index: int, photograph: Path, target: Path, class_count: int, size: tuple[int, int]) -> None:
    """Write crop number `index`, of a photograph, unless it exists."""
    path = target / f"class_{index % class_count:03d}" / f"{index:05d}.jpg"
    if path.exists():
        return
    rng = np.random.default_rng(index)  # the same files for any number of threads
    width, height = (round(side * rng.uniform(0.85, 1.15)) for side in size)
    with Image.open(photograph) as image:
        # Decoded at a reduced size where JPEG allows: enough pixels for any crop, in a fraction of the time.
        image.draft("RGB", (2 * width, 2 * height))
        full_image = image.convert("RGB")
    scale = rng.uniform(0.6, 0.95)
    w, h = round(full_image.width * scale), round(full_image.height * scale)
    x, y = int(rng.integers(0, full_image.width - w + 1)), int(rng.integers(0, full_image.height - h + 1))
    cropped = full_image.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h))
    cropped.save(path, quality=88)
