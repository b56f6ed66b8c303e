"""The entries of a tar file, plain or compressed, and their contents, as `archive` unpacks them.

A tar file has no list: it is read through once for that, and again for the contents. What comes out of the
decompressor is counted both times, so that a bomb is given up at the limit.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, ArchiveMember, UnpackEntry

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 20
"""Bytes that names and padding may take beside the contents."""
_DAMAGE_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, UnicodeError, gzip.BadGzipFile)


class TarArchive:
    """A tar file; it is opened anew for each pass."""

    def __init__(self, file: Path, limits: ArchiveLimits) -> None:
        self._file, self._limits = file, limits

    def list_members(self) -> list[ArchiveMember]:
        """What it holds, in its order.

        Raises:
            Refused: it is damaged, or holds too much.
            OSError: it cannot be read.
        """
        members: list[ArchiveMember] = []
        with _open_tar(self._file, self._limits) as archive:
            for index, info in enumerate(_iter_infos(archive)):
                if index >= self._limits.max_entries:
                    raise ArchiveError("many", limit=self._limits.max_entries)
                members.append(_make_member(info, index))
        return members

    def iter_contents(self, files: list[UnpackEntry]) -> Iterator[tuple[UnpackEntry, Iterator[bytes]]]:
        """Each of the files with its content, in pieces. A content is to be read before the next one.

        Raises:
            Refused: it is damaged.
        """
        entry_by_index = {entry.member.handle: entry for entry in files}
        with _open_tar(self._file, self._limits) as archive:
            for index, info in enumerate(_iter_infos(archive)):
                if index in entry_by_index:
                    yield entry_by_index[index], _iter_chunks(archive, info)


@contextmanager
def open_archive(file: Path, limits: ArchiveLimits) -> Iterator[TarArchive]:
    """A tar file, as `zipped.opened` gives a zip.

    Raises:
        OSError: it cannot be read.
    """
    with open(file, "rb"):
        yield TarArchive(file, limits)


class _BoundedReader:
    """What a decompressor gives, up to so many times the file's size."""

    def __init__(self, stream: Any, max_bytes: int, ratio: int) -> None:
        self._stream, self._bytes_left, self._ratio = stream, max_bytes, ratio

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ArchiveError("bomb", ratio=self._ratio)
        return data


@contextmanager
def _open_tar(file: Path, limits: ArchiveLimits) -> Iterator[tarfile.TarFile]:
    try:
        with _open_decompressed(file) as stream:
            max_bytes = (
                max(100_000_000, min(limits.max_bytes, limits.max_ratio * file.stat().st_size)) + _MAX_HEADER_BYTES
            )
            # "r|": forwards alone, and nothing of the file but what is counted.
            with tarfile.open(
                fileobj=_BoundedReader(stream, max_bytes, limits.max_ratio), mode="r|", errorlevel=2
            ) as archive:  # type: ignore[call-overload]
                yield archive
    except _DAMAGE_ERRORS as cause:
        raise ArchiveError("damaged", cause=str(cause) or type(cause).__name__) from cause


def _iter_infos(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its entries; none is kept, however many there are."""
    while (info := archive.next()) is not None:
        yield info
        archive.members.clear()  # type: ignore[attr-defined]


def _open_decompressed(file: Path) -> Any:
    """The file without its compression, which its first bytes tell."""
    with open(file, "rb") as stream:
        magic = stream.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file, "rb")
    if magic[:3] == b"BZh":
        return bz2.open(file, "rb")
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(file, "rb")
    return open(file, "rb")


def _make_member(info: tarfile.TarInfo, index: int) -> ArchiveMember:
    kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "file"
    if kind == "file" and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = "special"
    if kind in ("file", "folder"):
        try:
            tarfile.data_filter(info, ".")
        except tarfile.FilterError:
            # Ours say the same in more words; what they would let through is refused all the same.
            kind = kind if info.name.startswith("/") or ".." in info.name.split("/") else "special"
    return ArchiveMember(info.name, info.size, kind, index)


def _iter_chunks(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    stream = archive.extractfile(info)
    while stream is not None and (chunk := stream.read(_CHUNK_BYTES)):
        yield chunk
