"""Why a file cannot be read as a picture, from what its decoder raised and from its first bytes. No torch."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ftlab.data.images.decode_limits import Tangled

FOREIGN = {
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
"""Names that pictures of other formats carry, and what people call the format."""

_OWN_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_FOREIGN_STARTS = (
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
_WEB = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


def diagnose(cause: Exception, stream: BinaryIO | None, limit: int) -> tuple[str, dict[str, str | int]]:
    """The code (`problem.<code>` in the words) and the values that say what is wrong with a file.

    Args:
        cause: what the decoder, or the system, raised.
        stream: the file, if it could be opened.
        limit: of the pixels of a picture.
    """
    if isinstance(cause, FileNotFoundError):
        return "missing", {}
    if isinstance(cause, PermissionError):
        return "permission", {}
    if isinstance(cause, MemoryError):
        return "memory", {}
    if isinstance(cause, Tangled):
        return "tangled", {}
    if isinstance(cause, Image.DecompressionBombError):
        return "too_large", {"limit": limit // 1_000_000}
    if isinstance(cause, UnidentifiedImageError):
        return _name_content(stream)
    return ("truncated" if isinstance(cause, EOFError) or "truncated" in str(cause).lower() else "unreadable"), {}


def _name_content(stream: BinaryIO | None) -> tuple[str, dict[str, str | int]]:
    """What a file is that does not open as a picture."""
    try:
        head = b""
        if stream is not None:
            stream.seek(0)
            head = stream.read(1024)
            if not head:
                return "empty", {}
    except (OSError, ValueError):
        return "unreadable", {}
    if head.startswith(_OWN_STARTS) or head[8:12] == b"WEBP" or head[4:12] == b"ftypavif":
        return "unreadable", {}
    if head[4:8] == b"ftyp":
        heic = head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return ("format", {"kind": "HEIC"}) if heic else ("not_a_picture", {})
    for start, kind in _FOREIGN_STARTS:
        if head.startswith(start):
            return "format", {"kind": kind}
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return "format", {"kind": "SVG"}
    if text.startswith(b"<") and any(mark in text for mark in _WEB):
        return "web_page", {}
    return "not_a_picture", {}
