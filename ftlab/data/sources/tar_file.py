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

from ftlab.data.sources.archive_entries import Entry, Limits, Member, Refused

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_CHUNK = 1 << 20
_HEADERS = 64 << 20
"""Bytes that names and padding may take beside the contents."""
_WRONG = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, UnicodeError, gzip.BadGzipFile)


class Tar:
    """A tar file; it is opened anew for each pass."""

    def __init__(self, file: Path, limits: Limits) -> None:
        self._file, self._limits = file, limits

    def members(self) -> list[Member]:
        """What it holds, in its order.

        Raises:
            Refused: it is damaged, or holds too much.
            OSError: it cannot be read.
        """
        found: list[Member] = []
        with _reading(self._file, self._limits) as archive:
            for number, info in enumerate(_walked(archive)):
                if number >= self._limits.entries:
                    raise Refused("many", limit=self._limits.entries)
                found.append(_member(info, number))
        return found

    def contents(self, files: list[Entry]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Each of the files with its content, in pieces. A content is to be read before the next one.

        Raises:
            Refused: it is damaged.
        """
        wanted = {entry.member.handle: entry for entry in files}
        with _reading(self._file, self._limits) as archive:
            for number, info in enumerate(_walked(archive)):
                if number in wanted:
                    yield wanted[number], _chunks(archive, info)


@contextmanager
def opened(file: Path, limits: Limits) -> Iterator[Tar]:
    """A tar file, as `zipped.opened` gives a zip.

    Raises:
        OSError: it cannot be read.
    """
    with open(file, "rb"):
        yield Tar(file, limits)


class _Counted:
    """What a decompressor gives, up to so many times the file's size."""

    def __init__(self, stream: Any, limit: int, ratio: int) -> None:
        self._stream, self._left, self._ratio = stream, limit, ratio

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Refused("bomb", ratio=self._ratio)
        return data


@contextmanager
def _reading(file: Path, limits: Limits) -> Iterator[tarfile.TarFile]:
    try:
        with _plain(file) as stream:
            most = max(100_000_000, min(limits.bytes, limits.ratio * file.stat().st_size)) + _HEADERS
            # "r|": forwards alone, and nothing of the file but what is counted.
            with tarfile.open(fileobj=_Counted(stream, most, limits.ratio), mode="r|", errorlevel=2) as archive:  # type: ignore[call-overload]
                yield archive
    except _WRONG as cause:
        raise Refused("damaged", cause=str(cause) or type(cause).__name__) from cause


def _walked(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its entries; none is kept, however many there are."""
    while (info := archive.next()) is not None:
        yield info
        archive.members.clear()  # type: ignore[attr-defined]


def _plain(file: Path) -> Any:
    """The file without its compression, which its first bytes tell."""
    with open(file, "rb") as stream:
        start = stream.read(6)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(file, "rb")
    if start[:3] == b"BZh":
        return bz2.open(file, "rb")
    if start == b"\xfd7zXZ\x00":
        return lzma.open(file, "rb")
    return open(file, "rb")


def _member(info: tarfile.TarInfo, number: int) -> Member:
    kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "file"
    if kind == "file" and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = "special"
    if kind in ("file", "folder"):
        try:
            tarfile.data_filter(info, ".")
        except tarfile.FilterError:
            # Ours say the same in more words; what they would let through is refused all the same.
            kind = kind if info.name.startswith("/") or ".." in info.name.split("/") else "special"
    return Member(info.name, info.size, kind, number)


def _chunks(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    stream = archive.extractfile(info)
    while stream is not None and (chunk := stream.read(_CHUNK)):
        yield chunk
