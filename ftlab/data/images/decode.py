"""The only door for pixels: a file or a stream in, upright RGB out, or a PictureError that names the file. No torch.

Training, evaluation and prediction all come through here, so that they see the same bits. What is let in is
narrow on purpose: seven formats, at most 50 megapixels (fewer where a format is slow), told from the header before
anything is decoded. Every failure of one file is that file's `ImageError`, whatever the decoder raised.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from ftlab.core.errors import ImageError
from ftlab.data.images.decode_limits import ReadLimitedFile, check_jpeg_passes, guard_tiff_tags
from ftlab.data.images.diagnosis import diagnose_error

guard_tiff_tags()

MAX_PIXELS = 50_000_000
"""Width × height above which a picture is refused; decoding one of this size takes about half a gigabyte."""

FORMAT_MAX_PIXELS = {"AVIF": 14_000_000, "WEBP": 25_000_000}
"""The same for formats that take so much more time and memory that one picture would hold up others."""

MAX_FILE_BYTES = 200_000_000
"""Size of a file above which it is refused: what stands beside the pixels, a PNG's texts, say, is read as a whole."""

MAX_ASPECT_RATIO = 200
"""Long side over short side above which a picture is refused."""

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif")
)
"""Names that pictures of these formats carry, lower case. What a file is, its content decides."""

_MIN_DECODE_SIDE = 512
"""Pixels of the short side that decoding keeps in any case."""

CONVERT_BAND_PIXELS = 4_000_000
"""Pixels that are converted at a time."""

ImageArray = npt.NDArray[np.uint8]

_UINT16_TO_UINT8 = ((np.arange(65536, dtype=np.uint32) * 2 + 257) // 514).astype(np.uint8)


def read_image(source: Path | str | BinaryIO, *, min_side: int = 512) -> ImageArray:
    """The pixels of a picture, upright.

    EXIF orientation is applied; transparency lies on white; of an animation it is the first frame. 16-bit grey
    is divided by 257, so that black stays black and white white; of wider greys see `_find_gray_range`. Colour profiles
    are not applied.

    Args:
        source: a file's path, or a seekable stream read from its start.
        min_side: pixels. A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its short side keeps
            at least that many; what is smaller stays as it is.

    Returns:
        uint8 [H, W, 3], RGB, a writable array of its own.

    Raises:
        PictureError: the file is missing, no picture, damaged, too large … (the codes below `problem` in the words).
    """
    with _open_image(source) as image:
        side = max(1, min_side)
        image.draft("RGB", (side, side))
        image.load()
        transpose = _find_transpose(image)
        return _to_rgb(image.transpose(transpose) if transpose is not None else image)


def compute_min_side(resize: int) -> int:
    """What `at_least` is of a picture whose short side is scaled to so many pixels."""
    return max(_MIN_DECODE_SIDE, resize)


def read_image_size(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Width and height in pixels of the upright picture, from its header: a damaged body goes unseen.

    Raises:
        PictureError: as `read_image`, for what the header tells.
    """
    with _open_image(source) as image:
        width, height = image.size
        # Pillow tells a TIFF's upright size itself; a PNG without EXIF in front it would decode whole to look for more.
        is_upright = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
        return (height, width) if not is_upright and _swaps_axes(_find_transpose(image)) else (width, height)


def verify_image(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Width and height of the upright picture, after a cheap test that its whole body can be decoded.

    A JPEG is decoded at 1/8 of its size, which finds what is cut short at a fraction of the cost; `verify()` of
    Pillow does not find it.

    Raises:
        PictureError: as `read_image`.
    """
    with _open_image(source) as image:
        width, height = image.size
        image.draft("RGB", (1, 1))
        image.load()
        return (height, width) if _swaps_axes(_find_transpose(image)) else (width, height)


@contextmanager
def _open_image(source: Path | str | BinaryIO) -> Iterator[Image.Image]:
    """The picture with its header read and within the limits; whatever goes wrong inside becomes a PictureError."""
    _silence_pillow()
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    name = path if path is not None else str(getattr(source, "name", None) or "picture")
    stream: BinaryIO | None = None
    try:
        stream = _open_stream(source)
        with Image.open(cast(BinaryIO, ReadLimitedFile(stream, name)), formats=PILLOW_FORMATS) as image:
            _check_dimensions(image, name)
            if image.format in ("JPEG", "MPO"):
                check_jpeg_passes(stream, name, image.width * image.height)
            yield image
    except ImageError:
        raise
    # Decoders raise nearly anything: SyntaxError, struct.error, MemoryError … It is the file's fault, not ours.
    except Exception as cause:
        code, values = diagnose_error(cause, stream, MAX_PIXELS)
        raise ImageError(code, file=name, **values) from cause
    finally:
        if path is not None and stream is not None:
            stream.close()


def _open_stream(source: Path | str | BinaryIO) -> BinaryIO:
    if not isinstance(source, (str, os.PathLike)):
        return source
    file_stat = os.stat(source)
    # Opening a pipe or a device would wait for ever, or never end.
    if not stat.S_ISREG(file_stat.st_mode):
        raise UnidentifiedImageError
    if file_stat.st_size > MAX_FILE_BYTES:
        raise ImageError("too_many_bytes", file=os.fspath(source), limit=MAX_FILE_BYTES // 1_000_000)
    return open(source, "rb")


def get_max_pixels(format_name: str) -> int:
    """Width × height above which a picture of a format, in Pillow's words, is refused."""
    return min(MAX_PIXELS, FORMAT_MAX_PIXELS.get(format_name, MAX_PIXELS))


def _check_dimensions(image: Image.Image, name: str) -> None:
    width, height = image.size
    max_pixels = get_max_pixels(image.format or "")
    if width * height > max_pixels:
        raise ImageError("too_large", file=name, limit=max_pixels // 1_000_000)
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageError("too_long", file=name, width=width, height=height, limit=MAX_ASPECT_RATIO)


def _swaps_axes(transpose: Image.Transpose | None) -> bool:
    """Whether it exchanges width and height."""
    return transpose in (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )


def _find_transpose(image: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright that was taken with the camera turned; None where nothing need be done."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    # A damaged note about the camera does not make the picture unreadable.
    except Exception:
        return None
    return _TRANSPOSE_BY_ORIENTATION.get(orientation)


_TRANSPOSE_BY_ORIENTATION: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112."""


def _to_rgb(image: Image.Image) -> ImageArray:
    """uint8 [H, W, 3] of an image in any of Pillow's modes.

    A large one goes through in bands of rows, so that no copy on the way is ever there whole.
    """
    width, height = image.size
    band_rows = max(1, CONVERT_BAND_PIXELS // width)
    row_ranges = [(top, min(top + band_rows, height)) for top in range(0, height, band_rows)]

    def crop_band(top: int, bottom: int) -> Image.Image:
        return image if height <= band_rows else image.crop((0, top, width, bottom))

    black_level, span = 0.0, 1.0
    if image.mode in ("I", "F"):
        black_level, span = _find_gray_range(
            [_min_max(_replace_nonfinite(crop_band(*row_range))) for row_range in row_ranges], image.mode
        )
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in row_ranges:
        pixels[top:bottom] = _convert_band(crop_band(top, bottom), black_level, span)
    return pixels


def _convert_band(image: Image.Image, black_level: float, span: float) -> ImageArray:
    """uint8 [H, W, 3], or [H, W, 1] of grey; of wide grey, `black_level` becomes 0 and `black + span` 255."""
    if image.mode.startswith("I;16"):
        return _UINT16_TO_UINT8[np.asarray(image)][..., None]
    if image.mode in ("I", "F"):
        gray = (_replace_nonfinite(image) - np.float32(black_level)) * np.float32(255.0 / span)
        return np.clip(np.rint(gray), 0, 255).astype(np.uint8)[..., None]
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        opaque = Image.new("RGB", rgba.size, "white")
        opaque.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(opaque)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _replace_nonfinite(image: Image.Image) -> npt.NDArray[np.float32]:
    """float32 [H, W] of a mode I or F, with 0 for what is no number and a range that subtraction cannot leave."""
    values = np.asarray(image).astype(np.float32)
    return np.clip(np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1e30, 1e30)


def _min_max(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _find_gray_range(extremes: list[tuple[float, float]], mode: str) -> tuple[float, float]:
    """Black, and how far it is to white, in grey kept as 32-bit integers (I) or floats (F), which does not say so.

    Floats in [0, 1] and numbers in [0, 255] or [0, 65535] are taken for what they seem; anything else is stretched
    from its least to its greatest value.
    """
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if low < 0 or high > 65535:
        return low, max(high - low, 1e-30)
    if mode == "F" and high <= 1:
        return 0.0, 1.0
    return 0.0, 255.0 if high <= 255 else 65535.0


def _silence_pillow() -> None:
    """Keep Pillow's warnings from the person (and, where warnings are errors, from refusing a good picture).

    A filter, because `warnings.catch_warnings` changes the state of all threads at once. It is put in front again
    whenever something else, a test for one, has put its own there.
    """
    first_filter = warnings.filters[0] if warnings.filters else None
    if first_filter is None or getattr(first_filter[3], "pattern", None) != _PILLOW_MODULE_PATTERN:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULE_PATTERN)


_PILLOW_MODULE_PATTERN = r"PIL\."
