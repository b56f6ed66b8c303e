"""Pictures drawn for the tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"amber": (200, 140, 40), "blue": (40, 80, 200), "green": (50, 170, 70)}


def png(width: int = 12, height: int = 8) -> bytes:
    """A small PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 60)).save(stream, "PNG")
    return stream.getvalue()


def overlapping(folder: Path, count: int = 50) -> Path:
    """A folder with `count` JPEGs a class, 48 × 40 px: each a mixture of the colours of all classes, mostly of its own,
    so that no network gets all of them right."""
    random = np.random.default_rng(0)
    colours = np.array(list(COLOURS.values()))
    for label, name in enumerate(COLOURS):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            shares = random.dirichlet(np.where(np.arange(len(COLOURS)) == label, 1.6, 0.8))
            pixels = np.clip(shares @ colours + random.normal(0, 40, size=(40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}_{index}.jpg")
    return folder


def tiny(folder: Path) -> Path:
    """A folder with a sub-folder a class: amber, blue, green; 8 pictures each, JPEG and PNG, 64 to 120 px a side."""
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(8):
            height, width = random.integers(64, 121, size=2)
            noise = random.normal(0, 40, size=(height, width, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            suffix = "png" if index % 4 == 0 else "jpg"
            Image.fromarray(pixels).save(folder / name / f"{name}_{index}.{suffix}")
    return folder
