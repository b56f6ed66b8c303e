"""The entries of a zip and their contents, as `archive` unpacks them.

Names follow APPNOTE 6.3.10 (PKWARE): bit 11 says UTF-8, else the code page is 437; macOS writes UTF-8 and does not
say so.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftlab.data.sources.archive_entries import Entry, Limits, Member, Refused

SUFFIXES = (".zip",)

_CHUNK = 1 << 20
_SIGNATURE = b"PK\x01\x02"
_HEADER = 30
"""Bytes that stand before the name of an entry, at least."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8, _ENCRYPTED = 0x800, 0x1 | 0x40 | 0x2000


class Zip:
    """An open zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def members(self) -> list[Member]:
        """What it lists, in its order.

        Raises:
            Refused: its entries share bytes.
        """
        entries = self._archive.infolist()
        _no_overlap(entries, self._archive.start_dir)
        return [_member(info, name) for info, name in zip(entries, _names(entries), strict=True)]

    def contents(self, files: list[Entry]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Each of the files with its content, in pieces.

        Raises:
            Refused: one is damaged.
        """
        for entry in files:
            yield entry, self._chunks(entry)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        try:
            with self._archive.open(entry.member.handle) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as cause:
            raise Refused("entry", entry=entry.member.name, cause=_said(cause)) from cause


@contextmanager
def opened(file: Path, limits: Limits) -> Iterator[Zip]:
    """A zip, listed.

    Raises:
        Refused: it is none, or has too many entries.
        OSError: it cannot be read.
    """
    with _Listed(file, limits.entries) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except UnicodeDecodeError as cause:
            raise Refused("names") from cause
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as cause:
            raise Refused("damaged", cause=_said(cause)) from cause
        with archive:
            yield Zip(archive)


class _Listed(io.FileIO):
    """A zip that refuses to be listed when it has too many entries: before the list, a kilobyte each, is made."""

    def __init__(self, file: Path, limit: int) -> None:
        super().__init__(file, "rb")
        self.limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        # The list of a zip is read in one go, whatever its head says of the number.
        if data.count(_SIGNATURE) > self.limit:
            raise Refused("many", limit=self.limit)
        return data


def _member(info: zipfile.ZipInfo, name: str) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    said = "link" if kind == stat.S_IFLNK else "file" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "special"
    if said == "file" and name.endswith("/"):
        said = "folder"
    closed = None
    if info.flag_bits & _ENCRYPTED:
        closed = Refused("encrypted", entry=name)
    elif info.compress_type not in _METHODS:
        closed = Refused("method", entry=name, method=info.compress_type)
    return Member(name, info.file_size, said, info, closed)


def _names(entries: list[zipfile.ZipInfo]) -> list[str]:
    """The entries' names with `/` between folders, in the encoding that they seem to have."""
    raw = [info.orig_filename.replace("\\", "/") for info in entries]
    unmarked = [i for i, info in enumerate(entries) if not info.flag_bits & _UTF8 and not raw[i].isascii()]
    try:
        known = {i: raw[i].encode("cp437").decode("utf-8") for i in unmarked}
    except UnicodeError:
        return raw
    return [known.get(i, name) for i, name in enumerate(raw)]


def _no_overlap(entries: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse entries that share bytes: so a few kilobytes are made to expand to petabytes (D. Fifield, A better zip
    bomb, 2019). Pythons before 3.11.9 do not notice."""
    ordered = sorted(entries, key=lambda one: one.header_offset)
    for info, start in zip(ordered, [*(one.header_offset for one in ordered), end][1:], strict=True):
        if info.header_offset + _HEADER + info.compress_size > start:
            raise Refused("overlap", entry=info.filename)


def _said(cause: BaseException) -> str:
    return str(cause or type(cause).__name__).rstrip(".")
