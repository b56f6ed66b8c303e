"""Kinds of TIFF: some that Pillow does not know but can decode, and names of those that are not supported. No torch."""

from __future__ import annotations

import ctypes
import logging
from contextlib import suppress
from typing import BinaryIO, cast

from PIL import Image, TiffImagePlugin, _imaging
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from ftlab.core.errors import ImageError

_BITS_TAG, _COMPRESSION_TAG, _PHOTOMETRIC_TAG, _BANDS_TAG, _PLANES_TAG = 258, 259, 262, 277, 284
_FILL_ORDER_TAG, _EXTRA_SAMPLES_TAG, _SAMPLE_FORMAT_TAG = 266, 338, 339
_CLASSIC_HEADER_BYTES, _BIGTIFF_HEADER_BYTES, _BIGTIFF_VERSION = 8, 16, 43
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _YCBCR = 0, 1, 6
_INTEGERS, _SIGNED_INTEGERS, _FLOATS = (1,), (2,), (3,)
_SEPARATE_PLANES = 2
_COMPLEX_FORMATS = (5, 6)
_COLOR_SPACES = {
    8: "CIELAB colors",
    9: "ICCLAB colors",
    10: "ITULAB colors",
    32803: "the raw values of a camera's sensor",
    32844: "LogL values",
    32845: "LogLuv colors",
    34892: "the raw values of a camera's sensor",
}
"""Names of photometric interpretations that are not supported (TIFF 6.0 and its extensions)."""


def extend_pillow() -> None:
    """Let Pillow, in the whole process, open more kinds of gray TIFF, and keep libtiff's messages off standard error.

    The kinds are 12, 16 and 32 bits in either byte order, with black or white as zero: Pillow has decoders for all of
    them, but not in its table of kinds. libtiff's messages name no file; what cannot be decoded raises an error anyway.
    """
    for prefix, order in ((b"II", ""), (b"MM", "B")):
        for photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
            for sample_format, bits, mode, raw_mode in (
                (_INTEGERS, 12, "I;16", "I;12"),
                (_INTEGERS, 16, f"I;16{order}", f"I;16{order}"),
                (_SIGNED_INTEGERS, 16, "I", f"I;16{order}S"),
                (_INTEGERS, 32, "I", f"I;32{order}"),
                (_SIGNED_INTEGERS, 32, "I", f"I;32{order}S"),
            ):
                key = (prefix, photometric, sample_format, 1, (bits,), ())
                TiffImagePlugin.OPEN_INFO.setdefault(key, (mode, raw_mode))
    # Pillow logs an error that names no file for a TIFF of many bands, and raises one too.
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
    # Absent where libtiff is linked otherwise (Windows): its messages then stay.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def describe_unsupported(stream: BinaryIO) -> str | None:
    """Return what a TIFF has that is not supported, such as `13 bands`; None if its table of tags names nothing so.

    Args:
        stream: the file.
    """
    try:
        stream.seek(0)
        header = stream.read(_CLASSIC_HEADER_BYTES)
        if _BIGTIFF_VERSION in header[2:4]:
            header += stream.read(_BIGTIFF_HEADER_BYTES - _CLASSIC_HEADER_BYTES)
        tags = ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
        return _describe_tags(tags)
    # Tags that cannot be read are those of a damaged file.
    except Exception:
        return None


def check_kind(image: Image.Image, name: str) -> None:
    """Refuse kinds of TIFF that Pillow opens, but cannot decode or would decode wrongly.

    Args:
        image: opened TIFF.
        name: for the error.

    Raises:
        ImageError: the kind is not supported.
    """
    if unsupported := _describe_tags(cast(TiffImageFile, image).tag_v2, is_known=True):
        raise ImageError("tiff", file=name, kind=unsupported)


def _describe_tags(tags: ImageFileDirectory_v2, *, is_known: bool = False) -> str | None:
    """Return what the tags of a TIFF name that is not supported; None if there is nothing.

    Args:
        tags: table of a TIFF.
        is_known: Pillow knows the kind; otherwise its table is asked.
    """
    photometric, compression = tags.get(_PHOTOMETRIC_TAG, 0), tags.get(_COMPRESSION_TAG, 1)
    band_count: int = tags.get(_BANDS_TAG, 1)
    bits: tuple[int, ...] = tags.get(_BITS_TAG, (1,))
    formats: tuple[int, ...] = tags.get(_SAMPLE_FORMAT_TAG, _INTEGERS)
    bits, formats = bits * band_count if len(bits) == 1 else bits[:band_count], tuple(sorted(set(formats)))
    fill_order, extra_samples = tags.get(_FILL_ORDER_TAG, 1), tags.get(_EXTRA_SAMPLES_TAG, ())
    is_known = (
        is_known or (tags.prefix, photometric, formats, fill_order, bits, extra_samples) in TiffImagePlugin.OPEN_INFO
    )
    bands, is_separate = _count_bands(band_count), band_count > 1 and tags.get(_PLANES_TAG) == _SEPARATE_PLANES
    kinds = (
        (not _is_compression_known(compression), f"compression {compression}"),
        (bool(set(formats) & set(_COMPLEX_FORMATS)), "complex numbers"),
        # Pillow takes them for integers without a sign: -1 would be white.
        (_SIGNED_INTEGERS[0] in formats and bits[0] <= 8, f"{bands} of signed {bits[0]}-bit integers"),
        # Pillow calls it truncated: it reads four bytes of each pixel.
        (photometric == _YCBCR and compression == 1, "YCbCr colors without compression"),
        (photometric in _COLOR_SPACES, _COLOR_SPACES.get(photometric, "")),
        (is_separate and bits[0] > 8 and compression != 1, f"{bits[0]}-bit bands that are compressed one by one"),
        (not is_known and formats == _FLOATS, f"{bands} of {bits[0]}-bit floats"),
        (not is_known and (band_count not in (1, 3, 4) or bits[0] in (8, 16)), bands),
        (not is_known, f"{bands} of {bits[0]}-bit integers"),
    )
    return next((name for is_present, name in kinds if is_present), None)


def _is_compression_known(compression: int) -> bool:
    """Return whether Pillow knows a compression of TIFFs, and its libtiff was built with it."""
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return False
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(_imaging.__file__).TIFFIsCODECConfigured(compression))
    return True


def _count_bands(count: int) -> str:
    """Return a number of bands as text."""
    return "1 band" if count == 1 else f"{count} bands"
