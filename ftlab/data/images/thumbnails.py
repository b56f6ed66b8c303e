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

from ftlab.core.errors import PictureError
from ftlab.data.images import decode

SIDE = 160
"""Pixels of a thumbnail's square: twice the density of the 80 or so CSS pixels that it takes on a small screen."""


def uri(pixels: npt.NDArray[np.uint8], *, form: str = "JPEG", quality: int = 82) -> str:
    """A `data:` address of a picture, uint8 [H, W, 3], or [H, W, 4] where `form` is WEBP."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, quality=quality, **({"method": 2} if form == "WEBP" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def thumbnails(files: Sequence[Path | str], side: int = SIDE) -> list[str | None]:
    """A `data:` address a file, of its middle square scaled to `side` pixels; None for a file that cannot be read."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda file: _of_file(file, side), files))


def _of_file(file: Path | str, side: int) -> str | None:
    try:
        facts = os.stat(file)
        return _made(os.fspath(file), facts.st_mtime_ns, facts.st_size, side)
    except (OSError, PictureError):
        return None


@lru_cache(maxsize=3000)
def _made(file: str, modified: int, size: int, side: int) -> str:
    """Kept by the file's state: about 8 kB each. An error is not kept, the file may be mended."""
    return uri(square(decode.read(file, at_least=side), side))


def square(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The middle square of a picture uint8 [H, W, 3], scaled to [side, side, 3]."""
    height, width = pixels.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    image = Image.fromarray(pixels)
    scaled = image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + edge, top + edge))
    return np.asarray(scaled)
