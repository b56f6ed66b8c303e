"""How much work a small file may make: some are built so that a megabyte of it takes minutes to read, or gigabytes of
memory. No torch.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import IO, Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ftlab.core.errors import PictureError

READS = 300_000
"""Reads from one file, above which it is refused. A PNG of 200 MB in pieces of 4 kB makes 200,000."""

GIF_READS = 6_000
"""The same of a GIF, whose comments Pillow joins one by one. Pixels come in large pieces, 1,100 of 50 megapixels."""

PASSES = 600
"""Megapixels × passes over them, above which a JPEG is refused. 50 megapixels in the usual 10 passes make 500."""

PNG_MEGABYTES = 16
"""Of the texts and profiles in a PNG, as far as one of them has more than one: Pillow reads each as a whole, a megabyte
at a time, and copies it four times. Pixels it reads in smaller pieces."""

STRIPS = 100_000
"""Strips or tiles of a TIFF, above which it is refused."""

_PASS = b"\xff\xda"
_MEGABYTE = 1 << 20
_STRIPS = (273, 279, 324, 325)
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by the number of its type (TIFF 6.0, page 15; BigTIFF)."""


class Tangled(ValueError):
    """The file says that far more is to be read than it holds."""


class Metered:
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
        head = stream.read(4)
        stream.seek(0)
        self.left = GIF_READS if head == b"GIF8" else READS
        self.megabytes = PNG_MEGABYTES if head == b"\x89PNG" else sys.maxsize

    def read(self, size: int = -1, /) -> bytes:
        """As of any file. Raises `PictureError` when that was once too often, or too much."""
        self.left -= 1
        self.megabytes -= size >= _MEGABYTE
        if self.left < 0 or self.megabytes < 0:
            raise PictureError("tangled", file=self.name)
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def limit_passes(stream: BinaryIO, name: str, pixels: int) -> None:
    """Refuse a JPEG that comes in too many passes, each of which costs time over the whole picture and may take a few
    bytes only ("Two Issues with the JPEG Standard", libjpeg-turbo.org).

    Args:
        stream: the file; left at the place where it was.
        name: for the error.
        pixels: of the picture.

    Raises:
        PictureError: so it is.
    """
    place = stream.tell()
    stream.seek(0)
    passes, last = 0, b""
    # In what is compressed 0xff is always followed by 0, so each hit is the start of a pass, or of one in a preview.
    while data := stream.read(_MEGABYTE):
        passes += (last + data).count(_PASS)
        last = data[-1:]
        if passes * pixels > PASSES * 1_000_000:
            raise PictureError("tangled", file=name)
    stream.seek(place)


def guard_tags() -> None:
    """See to it that Pillow, in the whole process, reads no table of tags that names more bytes than there are.

    A table of a TIFF, or of the EXIF in any format, may name the same megabytes in each of its thousands of entries,
    and Pillow reads each by itself: 2 MB come to 8 GB. It does so while it opens a file, so nothing can be said before.
    """
    ImageFileDirectory_v2.load = _load  # type: ignore[method-assign]


def _load(self: ImageFileDirectory_v2, fp: IO[bytes]) -> None:
    place = fp.tell()
    end = fp.seek(0, os.SEEK_END)
    fp.seek(place)
    order = "<" if self.prefix == b"II" else ">"
    number, entry = (order + "Q", order + "HHQ8x") if self._bigtiff else (order + "H", order + "HHL4x")
    head = fp.read(struct.calcsize(number))
    count = struct.unpack(number, head)[0] if len(head) == struct.calcsize(number) else 0
    if count > 65535:
        raise Tangled
    table = fp.read(count * struct.calcsize(entry))
    rows = list(struct.iter_unpack(entry, table[: len(table) // struct.calcsize(entry) * struct.calcsize(entry)]))
    if any(tag in _STRIPS and many > STRIPS for tag, _, many in rows):
        raise Tangled
    sizes = (many * _UNITS.get(kind, 0) for _, kind, many in rows)
    # One that is longer than the file ends the reading by itself, as the damage that it is.
    if sum(size for size in sizes if size <= end) > end + _MEGABYTE:
        raise Tangled
    fp.seek(place)
    _plain_load(self, fp)


_plain_load = ImageFileDirectory_v2.load
