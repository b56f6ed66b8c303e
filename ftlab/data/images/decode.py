"""Decode an image file or stream to upright RGB; every failure is an `ImageError` that names the file. No torch.

Training, evaluation and prediction all decode here, so that they see the same bits. What is accepted is narrow on
purpose: eight formats, at most 50 megapixels (fewer where a format is slow), judged by the header before anything is
decoded. Every failure of one file becomes that file's `ImageError`, whatever the decoder raised.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ftlab.core.errors import ImageError
from ftlab.data.images import deep_samples, tiff_kinds
from ftlab.data.images.convert_rgb import convert_deep, to_rgb
from ftlab.data.images.decode_limits import (
    WEBP_HEADER_BYTES,
    check_jpeg_passes,
    check_webp_size,
    guard_tiff_tags,
    limit_reads,
)
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.images.diagnosis import diagnose_error
from ftlab.data.images.jpeg_header import check_tiff_jpegs, read_jpeg_frame
from ftlab.data.images.tar_members import open_image_file, split_member_path
from ftlab.data.images.value_range import UINT16_RANGE, SampleStats, find_image_range, measure_samples

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# At import, so that every process that decodes (workers of `worker_main` too) has both before its first file.
guard_tiff_tags()
tiff_kinds.extend_pillow()

MAX_PIXELS = 50_000_000
"""Width × height above which an image is refused; decoding one of this size takes about half a gigabyte of memory."""

FORMAT_MAX_PIXELS = {"AVIF": 14_000_000, "WEBP": 25_000_000, "PPM, text": 1_000_000}
"""Lower `MAX_PIXELS` of formats that take so much more time and memory that one image would hold up others.

Measured at the limits: 0.8 s and 185 MB (AVIF), 1.0 s and 435 MB (WEBP), 2.4 s and 190 MB (PPM whose numbers are
written as text); see docs/robustness.md.
"""

MAX_FILE_BYTES = 200_000_000
"""File size above which an image is refused, because metadata (texts of a PNG, for example) is read as a whole."""

MAX_ASPECT_RATIO = 200
"""Ratio of the long to the short side above which an image is refused."""

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
"""Formats that are decoded, by Pillow's names. Other decoders start programs (EPS: Ghostscript) or see little use."""

_NETPBM_SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif")
).union(_NETPBM_SUFFIXES)
"""Suffixes of these formats, lower case. They select files in a folder; the content decides the format."""

_REDUCIBLE_KEY = "ftlab_reducible"
"""Key in the `info` of an opened JPEG: whether it may be decoded at a reduced size."""

ImageArray: TypeAlias = "npt.NDArray[np.uint8]"


def read_image(source: Path | str | BinaryIO, options: DecodeOptions = DecodeOptions()) -> ImageArray:
    """Decode an image, upright.

    EXIF orientation is applied; transparent pixels are blended with white; an animation gives its first frame. Images
    of more than 8 bits are scaled from their value range, see `value_range`. Colour profiles are not applied.

    A file that is missing, not an image, damaged, too large … raises an `ImageError`, whose code is a key below
    `problem` in the messages.

    Args:
        source: path of a file, or a seekable stream, which is read from its start.
        options: size of a JPEG and value range of a deep image.

    Returns:
        uint8 [H, W, 3] RGB, a writable array with memory of its own.
    """
    with _open_image(source) as image:
        if not options.exact:
            _reduce_scale(image, max(1, options.min_side))
        ranges = options.value_ranges
        if deep_samples.find_sample_kind(image) is None:
            return to_rgb(_make_upright(deep_samples.load_shallow(image)))
        # 16-bit color that fills its range needs no more than the high bytes.
        is_filled = ranges is not None and ranges.uint16 == UINT16_RANGE and deep_samples.decodes_high_bytes(image)
        if ranges is None or is_filled:
            image.load()
            return to_rgb(_make_upright(image))
        deep = deep_samples.load_samples(image, partial(_open_image, source), _make_upright)
        return convert_deep(deep, find_image_range(deep, ranges))


def read_sample_stats(source: Path | str | BinaryIO) -> SampleStats | None:
    """Return the statistics of a deep image's samples; None for an image of at most 8 bits, which is not decoded.

    Raises an `ImageError` as `read_image` does.
    """
    with _open_image(source) as image:
        if deep_samples.find_sample_kind(image) is None:
            return None
        return measure_samples(deep_samples.load_samples(image, partial(_open_image, source), _make_upright))


def read_image_size(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Return width and height in pixels of the upright image from its header, without decoding the body.

    Raises an `ImageError` as `read_image` does, for what the header shows.
    """
    with _open_image(source) as image:
        width, height = image.size
        # Pillow gives a TIFF's size upright already. For a PNG without EXIF before the pixels, `getexif` would decode
        # the whole file to look for EXIF after them.
        is_upright = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
        return (height, width) if not is_upright and _swaps_axes(_find_transpose(image)) else (width, height)


def verify_image(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Check cheaply that the whole body of an image can be decoded, and return its upright width and height in pixels.

    A JPEG is decoded at 1/8 of its size, which finds a truncated file at a fraction of the cost; Pillow's `verify()`
    does not find it. Raises an `ImageError` as `read_image` does.

    Args:
        source: path of a file, or a seekable stream.

    Returns:
        Width and height in pixels.
    """
    with _open_image(source) as image:
        width, height = image.size
        _reduce_scale(image, 1)
        deep_samples.use_fast_decoder(image)
        image.load()
        return (height, width) if _swaps_axes(_find_transpose(image)) else (width, height)


@contextmanager
def _open_image(source: Path | str | BinaryIO) -> Iterator[Image.Image]:
    """Open an image, read its header and check the limits; every exception inside becomes an `ImageError`.

    Args:
        source: path of a file, or a seekable stream.

    Yields:
        The image, not decoded yet.

    Raises:
        ImageError: the file cannot be read as an image.
    """
    _silence_pillow()
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    name = path if path is not None else str(getattr(source, "name", None) or "picture")
    stream: BinaryIO | None = None
    try:
        stream = _open_stream(source)
        limited_stream, is_jpeg = limit_reads(stream, name)
        # Before Pillow sees the file: its JPEG decoder is entered only with a frame header that was checked.
        frame = read_jpeg_frame(limited_stream, name) if is_jpeg else None
        stream.seek(0)
        check_webp_size(stream.read(WEBP_HEADER_BYTES), name, get_max_pixels("WEBP"))
        limited_stream.seek(0)
        with Image.open(limited_stream, formats=PILLOW_FORMATS) as image:
            _check_dimensions(image, name)
            # MPO (several JPEGs in one file) is decoded by the JPEG decoder, and only its first image.
            if image.format in ("JPEG", "MPO"):
                if frame is None or image.size != (frame.width, frame.height):
                    raise ImageError("unreadable", file=name)
                check_jpeg_passes(limited_stream, name, image.width * image.height)
                image.info[_REDUCIBLE_KEY] = frame.can_be_reduced
            elif image.format == "TIFF":
                tiff_kinds.check_kind(image, name)
                check_tiff_jpegs(stream, cast(TiffImageFile, image).tag_v2, name)
            yield image
    except ImageError:
        raise
    # Decoders raise nearly anything for a damaged file: SyntaxError, struct.error, MemoryError …
    except Exception as cause:
        code, values = diagnose_error(cause, stream, MAX_PIXELS)
        raise ImageError(code, file=name, **values) from cause
    finally:
        if path is not None and stream is not None:
            stream.close()


def _reduce_scale(image: Image.Image, min_side: int) -> None:
    """Let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, if its frame header allows it.

    No other format has a reduced decoder in use: WEBP, AVIF, TIFF and the others are decoded as a whole.

    Args:
        image: opened image, not decoded yet.
        min_side: pixels that its short side keeps.
    """
    if image.info.pop(_REDUCIBLE_KEY, False):
        image.draft("RGB", (min_side, min_side))


def _open_stream(source: Path | str | BinaryIO) -> BinaryIO:
    """Return a stream of a regular file or a member of a tar file within the size limit, or the stream that was given.

    Args:
        source: path of a file, or a stream.

    Raises:
        ImageError: the file is too large.
        UnidentifiedImageError: the path is not a regular file.
        OSError: it cannot be opened.
    """
    if not isinstance(source, (str, os.PathLike)):
        return source
    try:
        file_stat = os.stat(source)  # noqa: PTH116 - `Path("")` would be the current folder, and this runs per image
    except OSError:
        member = split_member_path(source)
        if member is None:
            raise
        if member.size_bytes > MAX_FILE_BYTES:
            raise ImageError("too_many_bytes", file=os.fspath(source), limit=MAX_FILE_BYTES // 1_000_000) from None
        return open_image_file(source)
    # Opening a pipe or reading a device may block for ever.
    if not stat.S_ISREG(file_stat.st_mode):
        raise UnidentifiedImageError
    if file_stat.st_size > MAX_FILE_BYTES:
        raise ImageError("too_many_bytes", file=os.fspath(source), limit=MAX_FILE_BYTES // 1_000_000)
    return open(source, "rb")  # noqa: PTH123 - as above


def get_max_pixels(format_name: str) -> int:
    """Return the width × height above which an image of a format (Pillow's name) is refused."""
    return min(MAX_PIXELS, FORMAT_MAX_PIXELS.get(format_name, MAX_PIXELS))


def _check_dimensions(image: Image.Image, name: str) -> None:
    """Check the size that the header declares.

    Args:
        image: opened image.
        name: for the error.

    Raises:
        ImageError: the image has too many pixels, or one side is too long for the other.
    """
    width, height = image.size
    is_text = image.format == "PPM" and any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", ()))
    max_pixels = get_max_pixels("PPM, text" if is_text else image.format or "")
    if width * height > max_pixels:
        raise ImageError("too_large", file=name, limit=max_pixels // 1_000_000)
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageError("too_long", file=name, width=width, height=height, limit=MAX_ASPECT_RATIO)


def _swaps_axes(transpose: Image.Transpose | None) -> bool:
    """Return whether a transposition exchanges width and height."""
    return transpose in (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )


def _make_upright(image: Image.Image) -> Image.Image:
    """Return a decoded image, turned as its EXIF orientation says."""
    transpose = _find_transpose(image)
    return image if transpose is None else image.transpose(transpose)


def _find_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that makes an image upright by its EXIF orientation; None if it is upright."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    # Damaged EXIF data does not make the image unreadable.
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
"""Transposition by EXIF orientation (EXIF 2.32, tag 0x0112); 1 is upright."""


def _silence_pillow() -> None:
    """Suppress Pillow's warnings, which would reach the user or, where warnings are errors, refuse a good image.

    This is a filter because `warnings.catch_warnings` changes the state of all threads at once. It is inserted in front
    again whenever something else (a test, for example) has inserted its own filter.
    """
    first_filter = warnings.filters[0] if warnings.filters else None
    if first_filter is None or getattr(first_filter[3], "pattern", None) != _PILLOW_MODULE_PATTERN:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULE_PATTERN)


_PILLOW_MODULE_PATTERN = r"PIL\."
