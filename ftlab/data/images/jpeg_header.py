"""Read the frame header of a JPEG before a decoder does, and refuse the coding processes that few programs write.

A JPEG may be coded in fourteen ways (ITU-T T.81, table B.1). Decoders are tested with three of them: baseline, extended
sequential and progressive DCT with Huffman coding. The others are refused by name, wherever they lie: in a file of
their own, or in the strips and tiles of a TIFF. No torch.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ftlab.core.errors import ImageError

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_MARKERS_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
"""TEM, RST0 to RST7 and SOI."""
_DHP = 0xDE
"""Define hierarchical progression: the file holds several frames, each a correction of the one before."""
_DCT_HUFFMAN_MARKERS = frozenset((0xC0, 0xC1, 0xC2))
"""SOF0, SOF1 and SOF2: baseline, extended sequential and progressive DCT with Huffman coding."""
REFUSED_PROCESSES = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical, progressive",
    0xC7: "hierarchical, lossless",
    0xC9: "arithmetic coding",
    0xCA: "arithmetic coding, progressive",
    0xCB: "arithmetic coding, lossless",
    0xCD: "arithmetic coding, hierarchical",
    0xCE: "arithmetic coding, hierarchical and progressive",
    0xCF: "arithmetic coding, hierarchical and lossless",
    _DHP: "hierarchical",
    0xF7: "JPEG-LS",
}
"""Names of the coding processes that are refused, by the marker that announces them."""
_COMPONENT_COUNTS = (1, 3, 4)
"""Gray, YCbCr or RGB, and CMYK or YCCK."""
_MAX_SAMPLING_FACTOR = 4
_LEGAL_PRECISIONS = range(2, 17)
"""Bits per channel that some process allows (T.81, table B.2); any other number is damage."""
_FRAME_HEADER = struct.Struct(">BHHB")
"""Precision in bits, height, width and number of components (T.81, B.2.2)."""

_TIFF_OLD_JPEG, _TIFF_JPEG = 6, 7
_COMPRESSION_TAG, _JPEG_TABLES_TAG, _OLD_JPEG_PROCESS_TAG = 259, 347, 512
_OLD_JPEG_OFFSET_TAG, _OLD_JPEG_LENGTH_TAG = 513, 514
_STRIP_TAGS, _TILE_TAGS = (273, 279), (324, 325)
"""Offsets and byte counts (TIFF 6.0)."""
_OLD_JPEG_BASELINE, _OLD_JPEG_LOSSLESS = 1, 14
"""Values of JPEGProc (TIFF 6.0, section 22)."""


class SeekableReader(Protocol):
    """A binary file that can be read at any position."""

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> Any:
        """Move to a position."""

    def tell(self) -> int:
        """Return the position."""


@dataclass(frozen=True)
class JpegFrame:
    """Frame header of a JPEG that may be decoded.

    Attributes:
        width: in pixels.
        height: in pixels.
        sampling: horizontal and vertical sampling factor of each component.
    """

    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]

    @property
    def can_be_reduced(self) -> bool:
        """Return whether the image may be decoded at 1/2, 1/4 or 1/8 of its size: its components fit into each other.

        Factors of 3, or a component between the sizes of two others, are legal and next to never written.
        """
        factors = {factor for pair in self.sampling for factor in pair}
        return factors <= {1, 2, 4}


def read_jpeg_frame(stream: SeekableReader, name: str, end: int | None = None) -> JpegFrame | None:
    """Read the frame header of the JPEG at the position of `stream`, as libjpeg would find it.

    What lies inside other segments (the thumbnail in EXIF, the further images that an MPO announces) is no frame of
    this image, and not looked at. The position of the stream changes.

    Args:
        stream: the file, at the JPEG's start-of-image marker.
        name: for the error.
        end: position at which the JPEG ends, where it is part of another file.

    Returns:
        The frame; None where the data end, or the compressed data begin, before a frame header: no decoder finds one
        either.

    Raises:
        ImageError: the coding process is refused, or the frame header is damaged.
    """
    frame: JpegFrame | None = None
    for marker, payload_size in _iter_segments(stream, end):
        if marker in REFUSED_PROCESSES:
            raise ImageError("jpeg_process", file=name, process=REFUSED_PROCESSES[marker])
        if marker in _DCT_HUFFMAN_MARKERS:
            # Several frames without the marker of a hierarchical file: no process allows that.
            if frame is not None:
                raise ImageError("unreadable", file=name)
            frame = _parse_frame(stream.read(payload_size), payload_size, name)
    return frame


def _iter_segments(stream: SeekableReader, end: int | None) -> Iterator[tuple[int, int]]:
    """Yield the marker segments before the compressed data, in libjpeg's reading: bytes between segments are skipped.

    Args:
        stream: the file; the consumer may read within the payload.
        end: position at which the JPEG ends; None: at the end of the file.

    Yields:
        Marker, and number of bytes of its payload, which the stream stands before.
    """
    if stream.read(2) != b"\xff\xd8":
        return
    while (marker := _read_marker(stream)) not in (None, _SOS, _EOI):
        assert marker is not None
        if marker in _MARKERS_WITHOUT_LENGTH:
            continue
        length_bytes = stream.read(2)
        if len(length_bytes) < 2:
            return
        payload_size = max(0, int.from_bytes(length_bytes, "big") - 2)
        payload_start = stream.tell()
        if end is not None and payload_start > end:
            return
        yield marker, payload_size
        stream.seek(payload_start + payload_size)


def _read_marker(stream: SeekableReader) -> int | None:
    """Return the next marker: the first byte after 0xff that is neither 0xff (a fill byte) nor 0 (data)."""
    byte = stream.read(1)
    while byte:
        if byte != b"\xff":
            byte = stream.read(1)
            continue
        while byte == b"\xff":
            byte = stream.read(1)
        if byte and byte != b"\0":
            return byte[0]
    return None


def _parse_frame(payload: bytes, payload_size: int, name: str) -> JpegFrame:
    """Return the frame of a header, without its marker and length.

    Args:
        payload: the header.
        payload_size: its size in bytes as the file declares it.
        name: for the error.

    Raises:
        ImageError: it is damaged, or has another precision than 8 bits.
    """
    if len(payload) < max(_FRAME_HEADER.size, payload_size):
        raise ImageError("truncated", file=name)
    precision, height, width, component_count = _FRAME_HEADER.unpack_from(payload)
    if precision != 8 and precision in _LEGAL_PRECISIONS:
        raise ImageError("jpeg_process", file=name, process=f"{precision} bits per channel")
    sampling = tuple((byte >> 4, byte & 15) for byte in payload[_FRAME_HEADER.size + 1 :: 3])
    is_sane = (
        precision == 8
        and component_count in _COMPONENT_COUNTS
        and payload_size == _FRAME_HEADER.size + 3 * component_count
        and all(1 <= factor <= _MAX_SAMPLING_FACTOR for pair in sampling for factor in pair)
        and width
        and height
    )
    if not is_sane:
        raise ImageError("unreadable", file=name)
    return JpegFrame(width, height, sampling)


def check_tiff_jpegs(stream: SeekableReader, tags: Mapping[int, Any], name: str) -> None:
    """Check the frame header of each JPEG inside a TIFF; a TIFF with another compression passes.

    Args:
        stream: the file; its position is kept.
        tags: tags of the image, by number.
        name: for the error.

    Raises:
        ImageError: a strip or tile is of a coding process that is refused, or damaged.
    """
    compression = tags.get(_COMPRESSION_TAG)
    if compression not in (_TIFF_OLD_JPEG, _TIFF_JPEG):
        return
    if compression == _TIFF_OLD_JPEG and tags.get(_OLD_JPEG_PROCESS_TAG, _OLD_JPEG_BASELINE) != _OLD_JPEG_BASELINE:
        is_lossless = tags[_OLD_JPEG_PROCESS_TAG] == _OLD_JPEG_LOSSLESS
        raise ImageError("jpeg_process", file=name, process="lossless" if is_lossless else "unknown")
    tables = tags.get(_JPEG_TABLES_TAG)
    # Tables for all strips; a frame among them would be decoded instead of the strips' own.
    if isinstance(tables, bytes) and read_jpeg_frame(io.BytesIO(tables), name) is not None:
        raise ImageError("unreadable", file=name)
    position = stream.tell()
    for start, size in _iter_jpeg_ranges(tags):
        stream.seek(start)
        read_jpeg_frame(stream, name, start + size)
    stream.seek(position)


def _iter_jpeg_ranges(tags: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """Yield offset and size in bytes of everything in a TIFF that may be a JPEG stream."""
    for offset_tag, size_tag in (_STRIP_TAGS, _TILE_TAGS, (_OLD_JPEG_OFFSET_TAG, _OLD_JPEG_LENGTH_TAG)):
        offsets, sizes = _as_tuple(tags.get(offset_tag, ())), _as_tuple(tags.get(size_tag, ()))
        # Sizes may be missing: then the stream ends by itself.
        for position, offset in enumerate(offsets):
            yield offset, sizes[position] if position < len(sizes) else 1 << 32


def _as_tuple(value: Any) -> tuple[int, ...]:
    """Return the integers of a tag that holds one or several; others are no offsets."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int) and number >= 0)
