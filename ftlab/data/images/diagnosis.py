"""Diagnose why a file cannot be read as an image, from the decoder's exception and the first bytes. No torch."""

from __future__ import annotations

import re
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ftlab.core import content_kinds
from ftlab.data.images.decode_limits import DecompressionBomb
from ftlab.data.images.tiff_kinds import describe_unsupported

_SUFFIXES_BY_FORMAT = {
    "HEIC": ".heic .heif .hif .heics",
    "JPEG 2000": ".jp2 .j2k .j2c .jpc .jpf .jpx .jpm",
    "JPEG XL": ".jxl",
    "JPEG XR": ".jxr .wdp .hdp",
    "Photoshop": ".psd .psb",
    "GIMP": ".xcf",
    "SVG": ".svg .svgz",
    "EPS": ".eps .ai",
    "icon": ".ico .icns .cur",
    "TGA": ".tga",
    "PCX": ".pcx",
    "DDS": ".dds",
    "OpenEXR": ".exr",
    "portable float map": ".pfm",
    "DICOM": ".dcm .dicom",
    "NIfTI": ".nii",
    "FITS": ".fits .fit .fts",
    "whole-slide image": ".svs .ndpi .mrxs .scn .vsi",
    "camera raw": ".dng .nef .nrw .cr2 .cr3 .crw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .3fr .iiq .x3f .erf .mrw .kdc",
}
UNSUPPORTED_FORMATS = {
    suffix: format_name for format_name, suffixes in _SUFFIXES_BY_FORMAT.items() for suffix in suffixes.split()
}
"""Suffixes of image formats that are not supported, lower case, and the names of the formats."""

# A supported format that the decoder refused is damaged, not another format.
_SUPPORTED_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEADER_BYTES = 1024
"""Bytes at the beginning of a file that tell what it is."""
_DICOM_MAGIC, _DICOM_MAGIC_POSITION = b"DICM", 128
_CR2_MAGIC = b"CR"
_UNSUPPORTED_MAGIC = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\x01\0", "icon"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
)
_PROBLEM_BY_TEXT_KIND = {"lfs": "lfs", "annex": "annex", "page": "web_page"}
"""Problems of texts with the name of an image, by their kind."""


_PNM_HEADER = re.compile(rb"P[1-6]\s+[0-9#]")
"""Beginning of a PBM, PGM or PPM file (netpbm.sourceforge.net/doc)."""


def has_image_content(header: bytes) -> bool:
    """Return whether a file is an image in a supported format, by its first 32 bytes."""
    if header.startswith(b"BM"):  # two letters alone are too few: four bytes further on are reserved, and 0
        return header[6:10] == b"\0\0\0\0"
    if header.startswith(b"RIFF"):
        return header[8:12] == b"WEBP"
    is_avif = header[4:8] == b"ftyp" and b"avif" in header[8:32]
    return is_avif or header.startswith(_SUPPORTED_MAGIC + _TIFF_MAGIC) or bool(_PNM_HEADER.match(header))


def diagnose_error(cause: Exception, stream: BinaryIO | None, max_pixels: int) -> tuple[str, dict[str, str | int]]:
    """Return the problem of a file that could not be decoded.

    Args:
        cause: exception of the decoder or of the operating system.
        stream: the file, if it could be opened.
        max_pixels: limit of the number of pixels, for the message.

    Returns:
        The key `problem.<code>` of the message, without prefix, and its placeholders.
    """
    if isinstance(cause, FileNotFoundError):
        return "missing", {}
    if isinstance(cause, PermissionError):
        return "permission", {}
    if isinstance(cause, MemoryError):
        return "memory", {}
    if isinstance(cause, DecompressionBomb):
        return "tangled", {}
    if isinstance(cause, Image.DecompressionBombError):
        return "too_large", {"limit": max_pixels // 1_000_000}
    if isinstance(cause, UnidentifiedImageError):
        return _identify_content(stream)
    if format_name := _identify_tiff_relative(_read_header(stream) or b""):
        return "format", {"kind": format_name}
    # Pillow has no exception class for truncated files, only the word in its messages.
    return ("truncated" if isinstance(cause, EOFError) or "truncated" in str(cause).lower() else "unreadable"), {}


def _identify_content(stream: BinaryIO | None) -> tuple[str, dict[str, str | int]]:
    """Return the problem of a file that no decoder recognizes, as `diagnose_error` does, from its first kilobyte."""
    header = _read_header(stream)
    if header is None:
        return "unreadable", {}
    if stream is not None and not header:
        return "empty", {}
    if format_name := _identify_tiff_relative(header):
        return "format", {"kind": format_name}
    if stream is not None and header.startswith(_TIFF_MAGIC) and (kind := describe_unsupported(stream)):
        return "tiff", {"kind": kind}
    if has_image_content(header):
        return "unreadable", {}
    # ISO base media files (HEIC, AVIF, MP4) have the brand after `ftyp`.
    if header[4:8] == b"ftyp":
        is_heic = header[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return ("format", {"kind": "HEIC"}) if is_heic else ("not_a_picture", {})
    for magic, format_name in _UNSUPPORTED_MAGIC:
        if header.startswith(magic):
            return "format", {"kind": format_name}
    if archive_format := content_kinds.find_archive_format(header):
        return "format", {"kind": archive_format}
    return _identify_text(header)


def _read_header(stream: BinaryIO | None) -> bytes | None:
    """Return the first kilobyte of a file, nothing without one; None where it cannot be read."""
    if stream is None:
        return b""
    try:
        stream.seek(0)
        return stream.read(_HEADER_BYTES)
    except (OSError, ValueError):
        return None


def _identify_tiff_relative(header: bytes) -> str | None:
    """Return the name of a format whose files may begin as a TIFF does, if this is one by its header; else None."""
    if header.startswith(_DICOM_MAGIC, _DICOM_MAGIC_POSITION):
        return "DICOM"
    is_raw = header.startswith(_TIFF_MAGIC) and header[8:10] == _CR2_MAGIC
    return "camera raw" if is_raw else None


def _identify_text(header: bytes) -> tuple[str, dict[str, str | int]]:
    """Return the problem of a file that may be a text, as `diagnose_error` does, from its first kilobyte."""
    text = header.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return "format", {"kind": "SVG"}
    # Saving a link instead of its image gives a web page with the name of an image.
    return _PROBLEM_BY_TEXT_KIND.get(content_kinds.find_text_kind(header), "not_a_picture"), {}
