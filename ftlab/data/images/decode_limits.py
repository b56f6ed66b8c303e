"""How much work a small file may make: some are built so that a megabyte of it takes minutes to read, or gigabytes of
memory. No torch.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import IO, Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ftlab.core.errors import ImageError

MAX_READS = 300_000
"""Reads from one file, above which it is refused. A PNG of 200 MB in pieces of 4 kB makes 200,000."""

MAX_GIF_READS = 6_000
"""The same of a GIF, whose comments Pillow joins one by one. Pixels come in large pieces, 1,100 of 50 megapixels."""

MAX_JPEG_MEGAPIXEL_PASSES = 600
"""Megapixels × passes over them, above which a JPEG is refused. 50 megapixels in the usual 10 passes make 500."""

MAX_PNG_METADATA_MEGABYTES = 16
"""Of the texts and profiles in a PNG, as far as one of them has more than one: Pillow reads each as a whole, a megabyte
at a time, and copies it four times. Pixels it reads in smaller pieces."""

MAX_TIFF_STRIPS = 100_000
"""Strips or tiles of a TIFF, above which it is refused."""

_JPEG_SCAN_MARKER = b"\xff\xda"
_MEGABYTE = 1 << 20
_TIFF_STRIP_TAGS = (273, 279, 324, 325)
_TIFF_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of a value by the number of its type (TIFF 6.0, page 15; BigTIFF)."""


class DecompressionBomb(ValueError):
    """The file says that far more is to be read than it holds."""


class ReadLimitedFile:
    """A file that refuses to be read in too many pieces: millions of empty chunks, comments or fill bytes, each of
    which takes the decoder a microsecond or, where it joins them one by one, many.

    Args:
        stream: the file.
        name: for the error.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream, self.name = stream, name
        self.seek, self.tell = stream.seek, stream.tell
        stream.seek(0)
        magic = stream.read(4)
        stream.seek(0)
        self.reads_left = MAX_GIF_READS if magic == b"GIF8" else MAX_READS
        self.megabytes_left = MAX_PNG_METADATA_MEGABYTES if magic == b"\x89PNG" else sys.maxsize

    def read(self, size: int = -1, /) -> bytes:
        """As of any file. Raises `ImageError` when that was once too often, or too much."""
        self.reads_left -= 1
        self.megabytes_left -= size >= _MEGABYTE
        if self.reads_left < 0 or self.megabytes_left < 0:
            raise ImageError("tangled", file=self.name)
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def check_jpeg_passes(stream: BinaryIO, name: str, pixel_count: int) -> None:
    """Refuse a JPEG that comes in too many passes, each of which costs time over the whole picture and may take a few
    bytes only ("Two Issues with the JPEG Standard", libjpeg-turbo.org).

    Args:
        stream: the file; left at the place where it was.
        name: for the error.
        pixel_count: of the picture.

    Raises:
        PictureError: so it is.
    """
    position = stream.tell()
    stream.seek(0)
    pass_count, last_byte = 0, b""
    # In what is compressed 0xff is always followed by 0, so each hit is the start of a pass, or of one in a preview.
    while chunk := stream.read(_MEGABYTE):
        pass_count += (last_byte + chunk).count(_JPEG_SCAN_MARKER)
        last_byte = chunk[-1:]
        if pass_count * pixel_count > MAX_JPEG_MEGAPIXEL_PASSES * 1_000_000:
            raise ImageError("tangled", file=name)
    stream.seek(position)


def guard_tiff_tags() -> None:
    """See to it that Pillow, in the whole process, reads no table of tags that names more bytes than there are.

    A table of a TIFF, or of the EXIF in any format, may name the same megabytes in each of its thousands of entries,
    and Pillow reads each by itself: 2 MB come to 8 GB. It does so while it opens a file, so nothing can be said before.
    """
    ImageFileDirectory_v2.load = _load_checked_tags  # type: ignore[method-assign]


def _load_checked_tags(self: ImageFileDirectory_v2, fp: IO[bytes]) -> None:
    position = fp.tell()
    file_bytes = fp.seek(0, os.SEEK_END)
    fp.seek(position)
    byte_order = "<" if self.prefix == b"II" else ">"
    count_format, entry_format = (
        (byte_order + "Q", byte_order + "HHQ8x") if self._bigtiff else (byte_order + "H", byte_order + "HHL4x")
    )
    count_bytes = fp.read(struct.calcsize(count_format))
    entry_count = (
        struct.unpack(count_format, count_bytes)[0] if len(count_bytes) == struct.calcsize(count_format) else 0
    )
    if entry_count > 65535:
        raise DecompressionBomb
    entry_bytes = fp.read(entry_count * struct.calcsize(entry_format))
    entries = list(
        struct.iter_unpack(
            entry_format,
            entry_bytes[: len(entry_bytes) // struct.calcsize(entry_format) * struct.calcsize(entry_format)],
        )
    )
    if any(tag in _TIFF_STRIP_TAGS and value_count > MAX_TIFF_STRIPS for tag, _, value_count in entries):
        raise DecompressionBomb
    value_sizes = (value_count * _TIFF_TYPE_BYTES.get(type_code, 0) for _, type_code, value_count in entries)
    # One that is longer than the file ends the reading by itself, as the damage that it is.
    if sum(value_bytes for value_bytes in value_sizes if value_bytes <= file_bytes) > file_bytes + _MEGABYTE:
        raise DecompressionBomb
    fp.seek(position)
    _original_load(self, fp)


_original_load = ImageFileDirectory_v2.load
