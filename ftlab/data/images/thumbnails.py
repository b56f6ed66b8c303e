"""Thumbnails as `data:` URIs inside the HTML, so that showing a data set leaves no files behind. No torch."""

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
from ftlab.data.images.decode_options import DecodeOptions, ValueRanges

THUMBNAIL_SIDE_PIXELS = 160
"""Side of a square thumbnail in pixels: twice the about 80 CSS pixels that it takes on a small screen."""


def encode_data_uri(pixels: npt.NDArray[np.uint8], *, image_format: str = "JPEG", quality: int = 82) -> str:
    """Encode an image as a `data:` URI.

    Args:
        pixels: uint8 [H, W, 3] RGB, or [H, W, 4] RGBA where `image_format` is WEBP.
        image_format: Pillow's name of the format.
        quality: quality of lossy compression, 0 to 100.

    Returns:
        The URI.
    """
    # WEBP's method 2 of 0 to 6 trades size for speed: thumbnails are made while the user waits.
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, image_format, quality=quality, **({"method": 2} if image_format == "WEBP" else {})
    )
    return f"data:image/{image_format.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def make_thumbnails(
    files: Sequence[Path | str], value_ranges: ValueRanges | None = ValueRanges(), side: int = THUMBNAIL_SIDE_PIXELS
) -> list[str | None]:
    """Make a thumbnail of each file: its center square, resized.

    Args:
        files: paths of image files.
        value_ranges: of deep images, see `DecodeOptions`.
        side: side of the thumbnails in pixels.

    Returns:
        A `data:` URI per file; None for a file that cannot be read.
    """
    options = DecodeOptions(side, value_ranges=value_ranges)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda file: _make_file_thumbnail(file, side, options), files))


def _make_file_thumbnail(file: Path | str, side: int, options: DecodeOptions) -> str | None:
    """Return the thumbnail of a file, or None if it cannot be read."""
    try:
        file_stat = os.stat(file)  # noqa: PTH116 - str or Path
        return _cached_thumbnail(os.fspath(file), file_stat.st_mtime_ns, file_stat.st_size, side, options)
    except (OSError, ImageError):
        return None


@lru_cache(maxsize=3000)
def _cached_thumbnail(file: str, _mtime_ns: int, _size_bytes: int, side: int, options: DecodeOptions) -> str:
    """Return the thumbnail of a file, cached by its time and size: about 8 kB each, 24 MB in all.

    An error is not cached, because the file may be repaired.
    """
    return encode_data_uri(crop_square(decode.read_image(file, options), side))


def crop_square(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return the center square of an image, resized bilinearly.

    Args:
        pixels: uint8 [H, W, 3].
        side: side of the result in pixels.

    Returns:
        uint8 [side, side, 3].
    """
    height, width = pixels.shape[:2]
    crop_side = min(height, width)
    left, top = (width - crop_side) / 2, (height - crop_side) / 2
    image = Image.fromarray(pixels)
    scaled = image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + crop_side, top + crop_side))
    return np.asarray(scaled)
