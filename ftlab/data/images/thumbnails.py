"""Small pictures inside the HTML itself, so that showing a data set leaves no files behind. No torch."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import decode

THUMBNAIL_SIDE_PIXELS = 160
"""Pixels of a thumbnail's square: twice the density of the 80 or so CSS pixels that it takes on a small screen."""


def encode_data_uri(pixels: npt.NDArray[np.uint8], *, image_format: str = "JPEG", quality: int = 82) -> str:
    """A `data:` address of a picture, uint8 [H, W, 3], or [H, W, 4] where `image_format` is WEBP."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, image_format, quality=quality, **({"method": 2} if image_format == "WEBP" else {})
    )
    return f"data:image/{image_format.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def make_thumbnails(files: Sequence[Path | str], side: int = THUMBNAIL_SIDE_PIXELS) -> list[str | None]:
    """A `data:` address a file, of its middle square scaled to `side` pixels; None for a file that cannot be read."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda file: _make_file_thumbnail(file, side), files))


def _make_file_thumbnail(file: Path | str, side: int) -> str | None:
    try:
        file_stat = os.stat(file)
        return _cached_thumbnail(os.fspath(file), file_stat.st_mtime_ns, file_stat.st_size, side)
    except (OSError, ImageError):
        return None


@lru_cache(maxsize=3000)
def _cached_thumbnail(file: str, mtime_ns: int, size_bytes: int, side: int) -> str:
    """Kept by the file's state: about 8 kB each. An error is not kept, the file may be mended."""
    return encode_data_uri(crop_square(decode.read_image(file, min_side=side), side))


def crop_square(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The middle square of a picture uint8 [H, W, 3], scaled to [side, side, 3]."""
    height, width = pixels.shape[:2]
    crop_side = min(height, width)
    left, top = (width - crop_side) / 2, (height - crop_side) / 2
    image = Image.fromarray(pixels)
    scaled = image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + crop_side, top + crop_side))
    return np.asarray(scaled)
