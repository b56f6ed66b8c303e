"""Diagnose why a file cannot be read as an image, from the decoder's exception and the first bytes. No torch."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ftlab.data.images.decode_limits import DecompressionBomb

UNSUPPORTED_FORMATS = {
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".psd": "Photoshop",
    ".svg": "SVG",
    ".eps": "EPS",
    ".ico": "icon",
    ".tga": "TGA",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".dng": "camera raw",
    ".nef": "camera raw",
    ".cr2": "camera raw",
    ".arw": "camera raw",
}
"""Suffixes of image formats that are not supported, lower case, and the names of the formats."""

# A supported format that the decoder refused is damaged, not another format.
_SUPPORTED_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*")
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
    (b"PK\x03\x04", "ZIP"),
)
_HTML_MARKERS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


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
    # Pillow has no exception class for truncated files, only the word in its messages.
    return ("truncated" if isinstance(cause, EOFError) or "truncated" in str(cause).lower() else "unreadable"), {}


def _identify_content(stream: BinaryIO | None) -> tuple[str, dict[str, str | int]]:
    """Return the problem of a file that no decoder recognizes, as `diagnose_error` does, from its first kilobyte."""
    try:
        header = b""
        if stream is not None:
            stream.seek(0)
            header = stream.read(1024)
            if not header:
                return "empty", {}
    except (OSError, ValueError):
        return "unreadable", {}
    if header.startswith(_SUPPORTED_MAGIC) or header[8:12] == b"WEBP" or header[4:12] == b"ftypavif":
        return "unreadable", {}
    # ISO base media files (HEIC, AVIF, MP4) have the brand after `ftyp`.
    if header[4:8] == b"ftyp":
        is_heic = header[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return ("format", {"kind": "HEIC"}) if is_heic else ("not_a_picture", {})
    for magic, format_name in _UNSUPPORTED_MAGIC:
        if header.startswith(magic):
            return "format", {"kind": format_name}
    return _identify_markup(header)


def _identify_markup(header: bytes) -> tuple[str, dict[str, str | int]]:
    """Return the problem of a file that may be SVG or HTML, as `diagnose_error` does, from its first kilobyte."""
    text = header.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return "format", {"kind": "SVG"}
    # Saving a link instead of its image gives a web page with the name of an image.
    if text.startswith(b"<") and any(marker in text for marker in _HTML_MARKERS):
        return "web_page", {}
    return "not_a_picture", {}
