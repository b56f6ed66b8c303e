"""Thumbnails as `data:` URIs inside the HTML, so that showing a data set leaves no files behind. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from ftlab.core.errors import ImageError
from ftlab.data.images.decode_options import DecodeOptions, ValueRanges
from ftlab.data.isolation import isolated

THUMBNAIL_SIDE_PIXELS = 160
"""Side of a square thumbnail in pixels: twice the about 80 CSS pixels that it takes on a small screen."""


def make_thumbnails(
    files: Sequence[Path | str], value_ranges: ValueRanges | None = ValueRanges(), side: int = THUMBNAIL_SIDE_PIXELS
) -> list[str | None]:
    """Make a thumbnail of each file: its center square, resized. Worker processes decode and encode.

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
    return isolated.make_thumbnail(file, side, options)
