"""Kinds of files that a download often leaves in place of the right one, told by their first bytes. No torch.

Pictures, archives and weights all come as a web page of a login, a Git LFS pointer, or an archive of another kind.
"""

from __future__ import annotations

import re

HEAD_BYTES = 4096
"""Bytes at the beginning of a file that tell its kind."""

_ARCHIVE_FORMATS = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
)
_IMAGE_FORMATS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
)
MISPLACED_TEXT_KINDS = ("lfs", "annex", "page")
"""Kinds of text, see `find_text_kind`, that stand in place of another file."""
_PAGE_START = re.compile(r"<\?xml|<error|<!--", re.IGNORECASE)
_PAGE_TAG = re.compile(r"<!doctype html|<html|<head|<body|<script", re.IGNORECASE)
_MAX_ANNEX_BYTES = 1000
_MAX_BYTES_OF_CHARACTER = 4


def find_archive_format(head: bytes) -> str:
    """Return the format of an archive or compressed file by its first bytes (`RAR`, `gzip` …); empty for others."""
    # The header of a tar file has its mark far behind the name of the first entry.
    is_tar = head[257:262] == b"ustar"
    return "tar" if is_tar else next((name for magic, name in _ARCHIVE_FORMATS if head.startswith(magic)), "")


def find_image_format(head: bytes) -> str:
    """Return the format of an image or document by its first bytes (`JPEG` …); empty for others."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    return next((name for magic, name in _IMAGE_FORMATS if head.startswith(magic)), "")


def find_text_kind(head: bytes) -> str:
    """Return the kind of a text file by its first bytes.

    Args:
        head: up to `HEAD_BYTES` bytes.

    Returns:
        `lfs` or `annex` (pointers to a file that was not fetched), `page` (HTML, or XML of a server), `text`; empty for
        a binary or an empty file.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if text.startswith(("version https://git-lfs", "version https://hawser")):
        return "lfs"
    if "/annex/objects/" in text[:400] and len(head) < _MAX_ANNEX_BYTES:
        return "annex"
    markup = text.lstrip()
    if markup.startswith("<") and (_PAGE_START.match(markup) or _PAGE_TAG.search(markup)):
        return "page"
    # A multi-byte character may be cut at the end of what was read.
    whole_text = text[:-_MAX_BYTES_OF_CHARACTER] or text
    printable = all(char.isprintable() or char in "\r\n\t\f" for char in whole_text)
    return "text" if text and printable and "\ufffd" not in whole_text else ""
