"""Images as `data:` URIs, and the square that a thumbnail shows. No torch."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def encode_data_uri(
    pixels: npt.NDArray[np.uint8], *, image_format: str = "JPEG", quality: int = 82, webp_method: int = 2
) -> str:
    """Encode an image as a `data:` URI.

    Args:
        pixels: uint8 [H, W, 3] RGB, or [H, W, 4] RGBA where `image_format` is WEBP.
        image_format: Pillow's name of the format.
        quality: quality of lossy compression, 0 to 100.
        webp_method: effort of WEBP, 0 to 6: trades size for speed, for images are encoded while the user waits.

    Returns:
        The URI.
    """
    stream = io.BytesIO()
    webp_options = {"method": webp_method} if image_format == "WEBP" else {}
    Image.fromarray(pixels).save(stream, image_format, quality=quality, **webp_options)
    return f"data:image/{image_format.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


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
