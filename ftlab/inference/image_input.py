"""Images that a Python program holds (paths, streams, PIL images, arrays), as sources that the decoder reads."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from ftlab.core import user_dirs
from ftlab.core.errors import ConfigError
from ftlab.inference.predictor import ImageSource

ImageInput = Path | str | BinaryIO | Image.Image | npt.NDArray[np.uint8]
"""An image: path of a file, binary stream, PIL image, or uint8 [H, W, 3] RGB or [H, W] gray."""
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Modes of PIL that a PNG stores."""
_TIFF_MODES = ("I", "F")
"""Modes of PIL of 32 bits, which a TIFF stores."""


def open_image_source(image: ImageInput) -> ImageSource:
    """Return what the decoder reads: paths and streams as they are, pixels as a lossless file in memory.

    An array of another shape or dtype, or a PIL image that cannot be loaded, gives a `ConfigError`.

    Args:
        image: see `ImageInput`.

    Returns:
        A path, or a seekable stream.

    Raises:
        ConfigError: it is a folder, an empty path, or no image.
    """
    if isinstance(image, (str, os.PathLike)):
        path = user_dirs.expand_home(image)
        if not os.fspath(image) or path.is_dir():
            raise ConfigError("image.path", path=image)
        return path
    if isinstance(image, np.ndarray):
        return _encode_pixels(_convert_array(image))
    if isinstance(image, Image.Image):
        return _encode_pixels(_convert_pil_image(image))
    if callable(getattr(image, "read", None)) and not isinstance(image, io.TextIOBase):
        return _open_stream(image)
    raise ConfigError("image.type", type=type(image).__name__)


def _open_stream(stream: BinaryIO) -> BinaryIO:
    """Return a stream that can be read from its beginning.

    Raises:
        ConfigError: it is closed, or gives no bytes.
    """
    try:
        if stream.seekable():
            return stream
        return io.BytesIO(stream.read())
    except (ValueError, OSError, TypeError, AttributeError) as cause:
        raise ConfigError("image.stream", cause=cause) from cause


def _convert_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Return a PIL image of an array.

    Args:
        pixels: uint8 [H, W, 3] RGB or [H, W] gray.

    Returns:
        The image, of mode RGB or L.

    Raises:
        ConfigError: the array has another shape or dtype, or no pixels.
    """
    is_image = pixels.dtype == np.uint8 and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
    if not is_image or not pixels.size:
        raise ConfigError("image.array", dtype=pixels.dtype, shape=list(pixels.shape))
    return Image.fromarray(pixels)


def _convert_pil_image(image: Image.Image) -> Image.Image:
    """Return an image as its file would be decoded: turned as its EXIF orientation says, in a mode that can be stored.

    Args:
        image: of any mode.

    Returns:
        The image.

    Raises:
        ConfigError: it is closed or damaged, or has no pixels.
    """
    # Pillow itself would fail by an assertion.
    if isinstance(image, ImageFile.ImageFile) and image.tile and image.fp is None:
        raise ConfigError("image.pil", cause="its file is closed")
    try:
        upright = ImageOps.exif_transpose(image)
        if not all(upright.size):
            raise ConfigError("image.array", dtype=upright.mode, shape=list(upright.size))
        if upright.mode.startswith("I;16") and upright.mode != "I;16":  # another order of the bytes
            return upright.convert("I").convert("I;16")
        return upright if upright.mode in _PNG_MODES + _TIFF_MODES else upright.convert("RGB")
    except (ValueError, OSError, SyntaxError) as cause:
        raise ConfigError("image.pil", cause=cause) from cause


def _encode_pixels(image: Image.Image) -> BinaryIO:
    """Return an image as a file in memory: TIFF for 32 bits, else PNG."""
    stream = io.BytesIO()
    image.save(stream, "TIFF" if image.mode in _TIFF_MODES else "PNG")
    stream.seek(0)
    return stream
