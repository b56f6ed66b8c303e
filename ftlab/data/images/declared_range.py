"""What a file declares of the values of its deep samples: sBIT of a PNG, sample values and bits of a TIFF. No torch."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ftlab.data.images.decode_options import ValueRange

BITS_PER_SAMPLE_TAG = 258
_MIN_SAMPLE_VALUE_TAG, _MAX_SAMPLE_VALUE_TAG = 280, 281
_SMIN_SAMPLE_VALUE_TAG, _SMAX_SAMPLE_VALUE_TAG = 340, 341
_GDAL_NODATA_TAG = 42113
_MAX_UINT16 = 65535
_MAX_PNG_CHUNKS = 1000
"""Chunks before the pixels of a PNG that are looked through."""


@dataclass(frozen=True)
class DeclaredRange:
    """Range of values that a file declares.

    Attributes:
        values: smallest and largest sample value; None if the file states none but the format's default.
        significant_bits: bits that the samples of a PNG had before they were scaled to 16 (sBIT); None if not stated.
        stored_bits: bits that each sample takes in the file.
        no_data: value of pixels without a measurement; None if not stated.
    """

    values: ValueRange | None = None
    significant_bits: int | None = None
    stored_bits: int = 16
    no_data: float | None = None


def read_declared_range(image: Image.Image) -> DeclaredRange:
    """Return what the file of an opened image, not decoded yet, declares."""
    if image.format == "PNG":
        return DeclaredRange(significant_bits=_read_significant_bits(image))
    if image.format != "TIFF":
        return DeclaredRange()
    low, high = (
        _to_number(get_tiff_tag(image, signed_tag, get_tiff_tag(image, tag, None)), choose)
        for signed_tag, tag, choose in (
            (_SMIN_SAMPLE_VALUE_TAG, _MIN_SAMPLE_VALUE_TAG, min),
            (_SMAX_SAMPLE_VALUE_TAG, _MAX_SAMPLE_VALUE_TAG, max),
        )
    )
    stored_bits = int(_to_number(get_tiff_tag(image, BITS_PER_SAMPLE_TAG, 1), max) or 1)
    # The default of the tag says nothing: the largest value that the bits can hold.
    states_range = high is not None and high != 2**stored_bits - 1 and high > (low or 0.0)
    return DeclaredRange(
        ValueRange(low or 0.0, high) if states_range and high is not None else None,
        stored_bits=stored_bits,
        no_data=_to_number(get_tiff_tag(image, _GDAL_NODATA_TAG, None), max),
    )


def get_tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    """Return the value of a tag of an opened TIFF; `default` if it is missing or the image is no TIFF."""
    return cast(TiffImageFile, image).tag_v2.get(tag, default) if image.format == "TIFF" else default


def _to_number(value: Any, choose: Any) -> float | None:
    """Return the value of a tag as a finite number; None if it is none.

    Args:
        value: a number, a text, or a tuple with a number for each channel.
        choose: `min` or `max`, of the channels.
    """
    try:
        number = float(
            choose(value) if isinstance(value, tuple) else value.strip(" \0") if isinstance(value, str) else value
        )
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _read_significant_bits(image: Image.Image) -> int | None:
    """Return the largest number of significant bits that an opened PNG declares by sBIT; None if it has no sBIT."""
    stream = cast(Any, image).fp
    position = stream.tell()
    try:
        stream.seek(8)  # behind the signature
        for _ in range(_MAX_PNG_CHUNKS):
            header = stream.read(8)
            if len(header) < 8 or header[4:] == b"IDAT":
                return None
            (length,) = struct.unpack(">I", header[:4])
            if header[4:] == b"sBIT":
                significant_bits = max(stream.read(min(length, 4)), default=0)
                return significant_bits if 1 <= significant_bits <= 16 else None
            stream.seek(length + 4, 1)  # over the data and the checksum
        return None
    finally:
        stream.seek(position)
