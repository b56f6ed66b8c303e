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

from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, ArchiveMember, UnpackEntry

ZIP_SUFFIXES = (".zip",)

_CHUNK_BYTES = 1 << 20
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_MIN_HEADER_BYTES = 30
"""Bytes that stand before the name of an entry, at least."""
_SUPPORTED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8_FLAG, _ENCRYPTED_FLAGS = 0x800, 0x1 | 0x40 | 0x2000


class ZipArchive:
    """An open zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def list_members(self) -> list[ArchiveMember]:
        """What it lists, in its order.

        Raises:
            Refused: its entries share bytes.
        """
        infos = self._archive.infolist()
        _check_no_overlap(infos, self._archive.start_dir)
        return [_make_member(info, name) for info, name in zip(infos, _decode_names(infos), strict=True)]

    def iter_contents(self, files: list[UnpackEntry]) -> Iterator[tuple[UnpackEntry, Iterator[bytes]]]:
        """Each of the files with its content, in pieces.

        Raises:
            Refused: one is damaged.
        """
        for entry in files:
            yield entry, self.iter_chunks(entry)

    def iter_chunks(self, entry: UnpackEntry) -> Iterator[bytes]:
        try:
            with self._archive.open(entry.member.handle) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as cause:
            raise ArchiveError("entry", entry=entry.member.name, cause=_error_text(cause)) from cause


@contextmanager
def open_archive(file: Path, limits: ArchiveLimits) -> Iterator[ZipArchive]:
    """A zip, listed.

    Raises:
        Refused: it is none, or has too many entries.
        OSError: it cannot be read.
    """
    with _EntryLimitedFile(file, limits.max_entries) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except UnicodeDecodeError as cause:
            raise ArchiveError("names") from cause
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as cause:
            raise ArchiveError("damaged", cause=_error_text(cause)) from cause
        with archive:
            yield ZipArchive(archive)


class _EntryLimitedFile(io.FileIO):
    """A zip that refuses to be listed when it has too many entries: before the list, a kilobyte each, is made."""

    def __init__(self, file: Path, max_entries: int) -> None:
        super().__init__(file, "rb")
        self.max_entries = max_entries

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        # The list of a zip is read in one go, whatever its head says of the number.
        if data.count(_DIRECTORY_SIGNATURE) > self.max_entries:
            raise ArchiveError("many", limit=self.max_entries)
        return data


def _make_member(info: zipfile.ZipInfo, name: str) -> ArchiveMember:
    file_type = stat.S_IFMT(info.external_attr >> 16)
    member_kind = (
        "link" if file_type == stat.S_IFLNK else "file" if file_type in (0, stat.S_IFREG, stat.S_IFDIR) else "special"
    )
    if member_kind == "file" and name.endswith("/"):
        member_kind = "folder"
    read_error = None
    if info.flag_bits & _ENCRYPTED_FLAGS:
        read_error = ArchiveError("encrypted", entry=name)
    elif info.compress_type not in _SUPPORTED_METHODS:
        read_error = ArchiveError("method", entry=name, method=info.compress_type)
    return ArchiveMember(name, info.file_size, member_kind, info, read_error)


def _decode_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """The entries' names with `/` between folders, in the encoding that they seem to have."""
    raw_names = [info.orig_filename.replace("\\", "/") for info in infos]
    unmarked_indices = [
        i for i, info in enumerate(infos) if not info.flag_bits & _UTF8_FLAG and not raw_names[i].isascii()
    ]
    try:
        utf8_names = {i: raw_names[i].encode("cp437").decode("utf-8") for i in unmarked_indices}
    except UnicodeError:
        return raw_names
    return [utf8_names.get(i, name) for i, name in enumerate(raw_names)]


def _check_no_overlap(infos: list[zipfile.ZipInfo], directory_start: int) -> None:
    """Refuse entries that share bytes: so a few kilobytes are made to expand to petabytes (D. Fifield, A better zip
    bomb, 2019). Pythons before 3.11.9 do not notice."""
    sorted_infos = sorted(infos, key=lambda zip_info: zip_info.header_offset)
    for info, next_start in zip(
        sorted_infos, [*(zip_info.header_offset for zip_info in sorted_infos), directory_start][1:], strict=True
    ):
        if info.header_offset + _MIN_HEADER_BYTES + info.compress_size > next_start:
            raise ArchiveError("overlap", entry=info.filename)


def _error_text(cause: BaseException) -> str:
    return str(cause or type(cause).__name__).rstrip(".")
