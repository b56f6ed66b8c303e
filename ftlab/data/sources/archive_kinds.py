"""Name what was given as an archive and is none, or is one of another kind. No torch."""

from __future__ import annotations

from pathlib import Path

from ftlab.core import content_kinds, file_io
from ftlab.core.errors import DataError
from ftlab.data.sources.archive_entries import ArchiveError

TAR_FORMATS = ("tar", "gzip", "bzip2", "xz")
"""Formats that the tar reader opens."""
_SUFFIX_BY_FORMAT = {"zip": ".zip", "tar": ".tar", "gzip": ".tar.gz", "bzip2": ".tar.bz2", "xz": ".tar.xz"}
"""Suffixes by which archives that can be unpacked are recognized."""
_ZIP_END_MARK = b"PK\x05\x06"
_ZIP_END_BYTES = 65_557
"""Bytes at the end of a zip file that hold its end record: 22, and a comment of up to 65,535."""
_END_WORDS = ("unexpected end", "end-of-stream", "EOF", "ended before", "truncated")
"""Words of the standard library's errors for a tar file without its end."""


def read_head(file: Path) -> bytes:
    """Return the first bytes of a file; OSError where it cannot be opened."""
    with file_io.open_regular_file(file) as stream:
        return stream.read(content_kinds.HEAD_BYTES)


def explain_damage(file: Path, damage: ArchiveError) -> ArchiveError:
    """Return the error that names what a file is that cannot be read as an archive.

    Args:
        file: of any kind.
        damage: what its reader said.

    Returns:
        An error of its own for each kind; `damage` where nothing else is known.
    """
    head = read_head(file)
    if not head:
        return ArchiveError("empty")
    text_kind = content_kinds.find_text_kind(head)
    if text_kind in content_kinds.MISPLACED_TEXT_KINDS:
        return ArchiveError(text_kind)
    archive_format = content_kinds.find_archive_format(head)
    if archive_format in TAR_FORMATS:
        is_cut = any(word in str(damage.values.get("cause")) for word in _END_WORDS)
        return ArchiveError("cut") if is_cut else damage
    if archive_format == "zip":
        return damage if _ZIP_END_MARK in _read_end(file) else ArchiveError("cut")
    if archive_format:
        return ArchiveError("format", format=archive_format)
    if image_format := content_kinds.find_image_format(head):
        return ArchiveError("no_archive", format=image_format)
    return damage


def check_no_archive(path: Path) -> None:
    """Refuse a file that is an archive, but not by its suffix or of no kind that can be unpacked.

    Args:
        path: a data set that is no archive and no list by its suffix; a folder passes.

    Raises:
        DataError: it is such a file.
    """
    try:
        head = read_head(path) if path.is_file() else b""
    except (OSError, ValueError):  # listing it as a folder gives the right error
        return
    archive_format = content_kinds.find_archive_format(head)
    if archive_format in _SUFFIX_BY_FORMAT:
        raise DataError("archive.suffix", file=path, format=archive_format, suffix=_SUFFIX_BY_FORMAT[archive_format])
    if archive_format:
        raise DataError("archive.format", file=path, format=archive_format)


def _read_end(file: Path) -> bytes:
    """Return the last bytes of a file, where a zip file has its end record."""
    with file_io.open_regular_file(file) as stream:
        stream.seek(max(0, stream.seek(0, 2) - _ZIP_END_BYTES))
        return stream.read()
