"""Folders of small images, for tests that look at files only."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

CLASSES = ("amber", "blue")
_GPS_IFD = 0x8825


def save_image(path: Path, *, has_position: bool = False) -> Path:
    """An image of one color; its EXIF may say where it was taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if has_position:
        exif.get_ifd(_GPS_IFD).update({1: "N", 2: (47.0, 22.0, 0.0), 3: "E", 4: (8.0, 32.0, 0.0)})
    Image.new("RGB", (40, 30), "orange").save(path, exif=exif)
    return path


def make_folders(root: Path, *folders: str, count: int = 2) -> Path:
    """Folders below `root` with images `0.jpg`, `1.jpg` ..."""
    for folder in folders:
        for number in range(count):
            save_image(root / folder / f"{number}.jpg")
    return root
