"""Entries and contents of a tar file, plain or compressed, as `archive` unpacks them.

A tar file has no directory: it is read completely once for the entries, and again for the contents. The output of the
decompressor is counted both times, so that a decompression bomb is stopped at the limit.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftlab.core import file_io
from ftlab.data.sources import name_encoding
from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, ArchiveMember, UnpackEntry

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
"""Suffixes of tar files, lower case."""

_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 20
"""Bytes that headers and padding may take in addition to the contents."""
_DAMAGE_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, UnicodeError, gzip.BadGzipFile)
"""Exceptions of the standard library for a damaged file."""


class TarArchive:
    """A tar file, opened again for each pass."""

    def __init__(self, file: Path, limits: ArchiveLimits, encoding: str) -> None:
        """Remember the file, its limits and the encoding of its names ("": detect it); nothing is read yet."""
        self._file, self._limits, self._encoding = file, limits, encoding
        self.guessed_encoding = ""
        """Encoding of the names if it was guessed, once they are listed."""

    def list_members(self) -> list[ArchiveMember]:
        """List the entries in the order of the file.

        Returns:
            The entries; `handle` is the position in the file.

        Raises:
            ArchiveError: the file is damaged, or has too many entries.
        """
        members: list[ArchiveMember] = []
        raw_names: dict[int, bytes] = {}
        with _open_tar(self._file, self._limits) as archive:
            for index, info in enumerate(_iter_infos(archive)):
                if index >= self._limits.max_entries:
                    raise ArchiveError("many", limit=self._limits.max_entries)
                members.append(_make_member(info, index))
                # Names in pax headers are UTF-8 by definition; `tarfile` keeps other bytes of the others as surrogates.
                if not info.name.isascii() and "path" not in info.pax_headers:
                    raw_names[index] = info.name.encode("utf-8", "surrogateescape")
        names, self.guessed_encoding = name_encoding.decode_names(raw_names, self._encoding)
        return [
            replace(member, name=names[index]) if index in names else member for index, member in enumerate(members)
        ]

    def iter_contents(self, files: list[UnpackEntry]) -> Iterator[tuple[UnpackEntry, Iterator[bytes]]]:
        """Yield each file with its content; a damaged file raises an `ArchiveError`.

        A content must be read before the next file is requested, because a tar file is read forwards only.

        Args:
            files: entries to read.

        Yields:
            Each entry, in the order of the archive, and its content in chunks of bytes.
        """
        entry_by_index = {entry.member.handle: entry for entry in files}
        with _open_tar(self._file, self._limits) as archive:
            for index, info in enumerate(_iter_infos(archive)):
                if index in entry_by_index:
                    yield entry_by_index[index], _iter_chunks(archive, info)


@contextmanager
def open_archive(file: Path, limits: ArchiveLimits, encoding: str = "") -> Iterator[TarArchive]:
    """Open a tar file; the counterpart of `zip_file.open_archive`.

    Args:
        file: the archive.
        limits: size limits.
        encoding: of the names that are not UTF-8; empty: it is detected.

    Yields:
        The archive.
    """
    # Opened for the `OSError` of a file that cannot be read; each pass opens it again.
    with file_io.open_regular_file(file):
        yield TarArchive(file, limits, encoding)


class _BoundedReader:
    """Reader of a decompressor's output that refuses more than `max_bytes`."""

    def __init__(self, stream: Any, max_bytes: int, ratio: int) -> None:
        """Read from `stream`; `ratio` is for the message."""
        self._stream, self._bytes_left, self._ratio = stream, max_bytes, ratio

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes.

        Args:
            size: number of bytes.

        Returns:
            The bytes; fewer at the end.

        Raises:
            ArchiveError: the limit is exceeded.
        """
        data: bytes = self._stream.read(size)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ArchiveError("bomb", ratio=self._ratio)
        return data


@contextmanager
def _open_tar(file: Path, limits: ArchiveLimits) -> Iterator[tarfile.TarFile]:
    """Open a tar file for one pass.

    Args:
        file: the archive.
        limits: size limits.

    Yields:
        The tar file, to be read forwards.

    Raises:
        ArchiveError: the file is damaged or its content too large.
    """
    try:
        with _open_decompressed(file) as stream:
            # At least 100 MB, as for `ArchiveLimits.max_ratio`: small archives may compress very well.
            max_bytes = (
                max(100_000_000, min(limits.max_bytes, limits.max_ratio * file.stat().st_size)) + _MAX_HEADER_BYTES
            )
            # "r|" reads forwards only, so nothing of the file escapes the count. `errorlevel=2` raises all errors.
            with tarfile.open(
                fileobj=_BoundedReader(stream, max_bytes, limits.max_ratio), mode="r|", errorlevel=2
            ) as archive:  # type: ignore[call-overload]
                yield archive
    except _DAMAGE_ERRORS as cause:
        raise ArchiveError("damaged", cause=str(cause) or type(cause).__name__) from cause


def _iter_infos(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar file without keeping them.

    Args:
        archive: opened for one pass.

    Yields:
        Each entry.
    """
    while (info := archive.next()) is not None:
        yield info
        # `TarFile` collects every entry, a kilobyte each, which a pass over millions of them does not need.
        archive.members.clear()  # type: ignore[attr-defined]


def _open_decompressed(file: Path) -> Any:
    """Return a stream of the decompressed file; its first bytes, not its name, decide the compression."""
    with file_io.open_regular_file(file) as stream:
        magic = stream.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file, "rb")
    if magic[:3] == b"BZh":
        return bz2.open(file, "rb")
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(file, "rb")
    return file.open("rb")


def _make_member(info: tarfile.TarInfo, index: int) -> ArchiveMember:
    """Return an entry as `archive_entries` plans it; what the standard library refuses becomes `special`."""
    kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "file"
    if kind == "file" and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = "special"
    if kind in ("file", "folder"):
        try:
            tarfile.data_filter(info, ".")
        except tarfile.FilterError:
            # For an absolute path and for `..` our own check has a better message; everything else that the filter
            # refuses (a member outside through a link, for example) is refused as `special`.
            kind = kind if info.name.startswith("/") or ".." in info.name.split("/") else "special"
    return ArchiveMember(info.name, info.size, kind, index)


def _iter_chunks(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    """Yield the content of an entry in chunks.

    Args:
        archive: opened for this pass.
        info: its current entry.

    Yields:
        Up to `_CHUNK_BYTES` bytes.
    """
    stream = archive.extractfile(info)
    while stream is not None and (chunk := stream.read(_CHUNK_BYTES)):
        yield chunk
