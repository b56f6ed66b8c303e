"""Guards against decompression bombs: limits on reads, passes and strips per file. No torch.

Some files are built so that a megabyte takes minutes to read, or gigabytes of memory. docs/robustness.md has the
measurements.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from contextlib import suppress
from typing import IO, Any, BinaryIO, cast

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ftlab.core.errors import ImageError

MAX_READS = 300_000
"""Number of reads from a file above which it is refused. A PNG of 200 MB in chunks of 4 kB takes 200,000."""

SMALL_JPEG_BYTES = MAX_READS // 3
"""Size up to which a JPEG is read as a whole: no decoder reads it in too many pieces.

It is read from its start to its end twice, for its frame header and by Pillow, and each read takes a byte or more.
"""

MAX_GIF_READS = 6_000
"""Number of reads from a GIF, whose comments Pillow joins one by one: 10 MB of comments took a minute.

Pixels come in large pieces: 1,100 for 50 megapixels.
"""

MAX_JPEG_MEGAPIXEL_PASSES = 600
"""Megapixels × passes above which a JPEG is refused. 50 megapixels in the usual 10 progressive passes make 500.

200 empty passes, 15 kB, took three seconds, and a file may have any number of them.
"""

MAX_PNG_METADATA_MEGABYTES = 16
"""Megabytes of texts and profiles in a PNG, counted where one of them has more than one megabyte.

Pillow reads each as a whole, a megabyte at a time, and copies it four times. It reads pixels in smaller pieces.
"""

MAX_TIFF_STRIPS = 100_000
"""Number of strips or tiles above which a TIFF is refused."""

_JPEG_SCAN_MARKER = b"\xff\xda"
"""Start of scan (SOS), ITU-T T.81, table B.1."""
_MEGABYTE = 1 << 20
WEBP_HEADER_BYTES = 30
"""Bytes of a WebP from which its size can be told."""
_TIFF_STRIP_TAGS = (273, 279, 324, 325)
"""StripOffsets, StripByteCounts, TileOffsets and TileByteCounts (TIFF 6.0)."""
_BANDS_TAG, _PLANES_TAG, _SEPARATE_PLANES = 277, 284, 2
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
"""Size of a value in bytes by the number of its type (TIFF 6.0, page 15; BigTIFF)."""


class DecompressionBomb(ValueError):
    """A file whose metadata declares far more data than the file holds."""


class ReadLimitedFile:
    """A file that refuses to be read in too many pieces.

    Files of millions of empty chunks, comments or fill bytes cost the decoder a microsecond for each or, where it joins
    them one by one, many.

    Attributes:
        is_jpeg: whether the file begins as a JPEG does.

    Args:
        stream: the file.
        name: for the error.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Choose the limits by the first bytes of the file, and rewind it."""
        self.stream, self.name = stream, name
        self.seek, self.tell = stream.seek, stream.tell
        stream.seek(0)
        magic = stream.read(4)
        stream.seek(0)
        self.is_jpeg = magic.startswith(b"\xff\xd8")
        self.reads_left = MAX_GIF_READS if magic == b"GIF8" else MAX_READS
        self.megabytes_left = MAX_PNG_METADATA_MEGABYTES if magic == b"\x89PNG" else sys.maxsize

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes as any file does.

        Args:
            size: number of bytes; -1: all that remain.

        Returns:
            The bytes.

        Raises:
            ImageError: too many reads, or too many megabytes of metadata.
        """
        self.reads_left -= 1
        # Only metadata is read a megabyte at a time, see MAX_PNG_METADATA_MEGABYTES.
        self.megabytes_left -= size >= _MEGABYTE
        if self.reads_left < 0 or self.megabytes_left < 0:
            raise ImageError("tangled", file=self.name)
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the wrapped stream."""
        return getattr(self.stream, name)


def limit_reads(stream: BinaryIO, name: str) -> tuple[BinaryIO, bool]:
    """Return a stream of the same content that cannot be read in too many pieces, and whether it begins as a JPEG does.

    A small JPEG comes as a whole, in memory: reading the fields of its header one by one through a guard takes as long
    as decoding its pixels at a reduced size.

    Args:
        stream: the file.
        name: for the error.
    """
    limited_file = ReadLimitedFile(stream, name)
    if limited_file.is_jpeg and stream.seek(0, os.SEEK_END) <= SMALL_JPEG_BYTES:
        stream.seek(0)
        return io.BytesIO(stream.read(SMALL_JPEG_BYTES)), True
    stream.seek(0)
    return cast(BinaryIO, limited_file), limited_file.is_jpeg


def check_jpeg_passes(stream: BinaryIO, name: str, pixel_count: int) -> None:
    """Refuse a JPEG with too many passes.

    Each pass costs time over the whole image but may take only a few bytes ("Two Issues with the JPEG Standard",
    libjpeg-turbo.org).

    Args:
        stream: the file; its position is kept.
        name: for the error.
        pixel_count: width × height of the image.

    Raises:
        ImageError: megapixels × passes exceed the limit.
    """
    position = stream.tell()
    max_passes = stream.seek(0, os.SEEK_END) // len(_JPEG_SCAN_MARKER)
    if max_passes * pixel_count <= MAX_JPEG_MEGAPIXEL_PASSES * 1_000_000:  # even if it consisted of markers alone
        stream.seek(position)
        return
    stream.seek(0)
    pass_count, last_byte = 0, b""
    # In compressed data 0xff is always followed by 0, so each match starts a pass, of the image or of its thumbnail.
    # The last byte is carried over because a marker may lie on the border of two chunks.
    while chunk := stream.read(_MEGABYTE):
        pass_count += (last_byte + chunk).count(_JPEG_SCAN_MARKER)
        last_byte = chunk[-1:]
        if pass_count * pixel_count > MAX_JPEG_MEGAPIXEL_PASSES * 1_000_000:
            raise ImageError("tangled", file=name)
    stream.seek(position)


def check_webp_size(header: bytes, name: str, max_pixels: int) -> None:
    """Refuse a WebP with too many pixels before its decoder sees it, which allocates all of them while it opens a file.

    Args:
        header: first 30 bytes of the file.
        name: for the error.
        max_pixels: width × height that is allowed.

    Raises:
        ImageError: the header declares more pixels. A header that is none is left to the decoder.
    """
    if len(header) < WEBP_HEADER_BYTES or header[:4] != b"RIFF" or header[8:12] != b"WEBP":
        return
    chunk = header[12:16]
    if chunk == b"VP8 ":  # RFC 6386, 9.1: 14 bits each, then 2 bits of scaling
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", header, 26))
    elif chunk == b"VP8L":  # RFC 9649, 3.4: 14 bits each, less one
        bits = int.from_bytes(header[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:  # VP8X, RFC 9649, 2.7: 24 bits each, less one
        width, height = (int.from_bytes(header[start : start + 3], "little") + 1 for start in (24, 27))
    if chunk in (b"VP8 ", b"VP8L", b"VP8X") and width * height > max_pixels:
        raise ImageError("too_large", file=name, limit=max_pixels // 1_000_000)


def guard_tiff_tags() -> None:
    """Patch Pillow, in the whole process, to refuse a table of tags that names more bytes than the file has.

    A table of a TIFF, or of the EXIF in any format, may name the same megabytes in each of its thousands of entries,
    and Pillow reads each of them: 2 MB become 8 GB. It does so while it opens a file, so no check can come before.
    """
    ImageFileDirectory_v2.load = _load_checked_tags  # type: ignore[method-assign]


def _load_checked_tags(self: ImageFileDirectory_v2, fp: IO[bytes]) -> None:
    """Check a table of tags (an image file directory) before Pillow loads it.

    Args:
        self: the directory.
        fp: the file, positioned at the table.

    Raises:
        DecompressionBomb: the table has too many entries or strips, or names more bytes than the file has.
    """
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
    # More than a classic TIFF can have; a BigTIFF counts in 64 bits, and `read` below would allocate that.
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
    # A value longer than the file makes Pillow stop by itself with an error of a truncated file.
    if sum(value_bytes for value_bytes in value_sizes if value_bytes <= file_bytes) > file_bytes + _MEGABYTE:
        raise DecompressionBomb
    fp.seek(position)
    _original_load(self, fp)
    # One band has no planes of its own; Pillow would take the first letter of the band's kind for the whole of it.
    with suppress(Exception):  # a damaged tag, which Pillow reports where it needs it
        if self.get(_BANDS_TAG, 1) == 1 and self.get(_PLANES_TAG) == _SEPARATE_PLANES:
            self[_PLANES_TAG] = 1


# Captured at import, before `guard_tiff_tags` replaces it.
_original_load = ImageFileDirectory_v2.load
