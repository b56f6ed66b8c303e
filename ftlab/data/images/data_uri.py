"""Images as `data:` URIs, and the square that a thumbnail shows. No torch."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from ftlab.core.html import Markup


def encode_data_uri(pixels: npt.NDArray[np.uint8], *, quality: int = 82) -> Markup:
    """Encode an image as a `data:` URI of a JPEG.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        quality: quality of the compression, 0 to 100.

    Returns:
        The URI; none of its characters has a meaning in HTML.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}")


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
