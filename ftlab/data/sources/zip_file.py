"""Entries and contents of a zip file, as `archive` unpacks them.

Names follow APPNOTE 6.3.10 (PKWARE): flag bit 11 means UTF-8, else code page 437, unless the Unicode Path extra field
of Info-ZIP gives the name. In fact macOS writes UTF-8 without the flag, and Windows the code page of its language:
without flag and field, the encoding is detected over all names.
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

from ftlab.core import file_io
from ftlab.data.sources import name_encoding
from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, ArchiveMember, UnpackEntry

ZIP_SUFFIXES = (".zip",)
"""Suffixes of zip files, lower case."""

_CHUNK_BYTES = 1 << 20
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
"""First bytes of an entry in the central directory."""
_MIN_HEADER_BYTES = 30
"""Size of a local file header in bytes, without the name."""
_SUPPORTED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNICODE_PATH_ID = 0x7075
_UTF8_FLAG, _ENCRYPTED_FLAGS = 0x800, 0x1 | 0x40 | 0x2000
"""General purpose flags: bit 11; bits 0 (encrypted), 6 (strong encryption) and 13 (encrypted central directory)."""


class ZipArchive:
    """An open zip file."""

    def __init__(self, archive: zipfile.ZipFile, encoding: str) -> None:
        """Wrap an open `ZipFile`, which the caller closes; `encoding` is that of its names, "" to detect it."""
        self._archive, self._encoding = archive, encoding
        self.guessed_encoding = ""
        """Encoding of the names if it was guessed, once they are listed."""

    def list_members(self) -> list[ArchiveMember]:
        """Return the entries in the order of the central directory; overlapping entries raise an `ArchiveError`."""
        infos = self._archive.infolist()
        _check_no_overlap(infos, self._archive.start_dir)
        names, self.guessed_encoding = _decode_names(infos, self._encoding)
        return [_make_member(info, name) for info, name in zip(infos, names, strict=True)]

    def iter_contents(self, files: list[UnpackEntry]) -> Iterator[tuple[UnpackEntry, Iterator[bytes]]]:
        """Yield each file with its content; a damaged file raises an `ArchiveError`.

        Args:
            files: entries to read.

        Yields:
            Each entry, in the order given, and its content in chunks of bytes.
        """
        for entry in files:
            yield entry, self.iter_chunks(entry)

    def iter_chunks(self, entry: UnpackEntry) -> Iterator[bytes]:
        """Yield the content of an entry in chunks.

        Args:
            entry: entry to read.

        Yields:
            Up to `_CHUNK_BYTES` bytes.

        Raises:
            ArchiveError: the entry is damaged.
        """
        try:
            with self._archive.open(entry.member.handle) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as cause:
            raise ArchiveError("entry", entry=entry.member.name, cause=_error_text(cause)) from cause


@contextmanager
def open_archive(file: Path, limits: ArchiveLimits, encoding: str = "") -> Iterator[ZipArchive]:
    """Open a zip file and read its central directory; a file that cannot be read raises an `OSError`.

    Args:
        file: the archive.
        limits: size limits.
        encoding: of the names without the UTF-8 flag; empty: it is detected.

    Yields:
        The archive.

    Raises:
        ArchiveError: the file is no zip, or has too many entries.
    """
    with _EntryLimitedFile(file, limits.max_entries) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except UnicodeDecodeError as cause:
            raise ArchiveError("names") from cause
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as cause:
            raise ArchiveError("damaged", cause=_error_text(cause)) from cause
        with archive:
            yield ZipArchive(archive, encoding)


class _EntryLimitedFile(io.FileIO):
    """File of a zip that refuses too many entries before `zipfile` makes a list of them, a kilobyte each."""

    def __init__(self, file: Path, max_entries: int) -> None:
        """Open `file` for reading."""
        super().__init__(file, "rb", opener=file_io.open_regular_descriptor)
        self.max_entries = max_entries

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes as any file does.

        Args:
            size: number of bytes; -1 or None: all that remain.

        Returns:
            The bytes.

        Raises:
            ArchiveError: the bytes contain more central directory entries than allowed.
        """
        data = super().read(-1 if size is None else size)
        # `zipfile` reads the central directory in one call, so counting here finds all entries whatever number the
        # end-of-directory record claims.
        if data.count(_DIRECTORY_SIGNATURE) > self.max_entries:
            raise ArchiveError("many", limit=self.max_entries)
        return data


def _make_member(info: zipfile.ZipInfo, name: str) -> ArchiveMember:
    """Return an entry as `archive_entries` plans it, with its decoded name."""
    # The upper 16 bits are the Unix mode; 0 where the archive was made on Windows.
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


def _decode_names(infos: list[zipfile.ZipInfo], encoding: str) -> tuple[list[str], str]:
    """Decode the names of the entries, with `/` between folders.

    Args:
        infos: entries as `zipfile` decoded them: UTF-8 with the flag, code page 437 without.
        encoding: of the names without the flag; empty: it is detected.

    Returns:
        The names, and the encoding that was guessed, "" for none.
    """
    names = [info.orig_filename for info in infos]
    raw_names: dict[int, bytes] = {}
    for index, info in enumerate(infos):
        if info.flag_bits & _UTF8_FLAG or names[index].isascii():
            continue
        # Code page 437 maps every byte to a character, so encoding gives the original bytes back.
        raw_name = names[index].encode("cp437")
        unicode_path = _find_unicode_path(info.extra, raw_name)
        if unicode_path is None:
            raw_names[index] = raw_name
        else:
            names[index] = unicode_path
    decoded_names, guessed_encoding = name_encoding.decode_names(raw_names, encoding)
    # Only now: in some encodings, the second byte of a character is a backslash.
    all_names = [decoded_names.get(index, name).replace("\\", "/") for index, name in enumerate(names)]
    return all_names, guessed_encoding


def _find_unicode_path(extra: bytes, raw_name: bytes) -> str | None:
    """Return the name in the Unicode Path extra field of Info-ZIP; None where there is none that is valid.

    Args:
        extra: extra fields of an entry.
        raw_name: its name as it is stored: another program may have renamed it since.
    """
    position = 0
    while position + 4 <= len(extra):
        field_id, size = struct.unpack_from("<HH", extra, position)
        content = extra[position + 4 : position + 4 + size]
        if field_id == _UNICODE_PATH_ID and len(content) == size > 5 and content[0] == 1:
            is_current = struct.unpack_from("<I", content, 1)[0] == zlib.crc32(raw_name)
            try:
                return content[5:].decode("utf-8") if is_current else None
            except UnicodeDecodeError:
                return None
        position += 4 + size
    return None


def _check_no_overlap(infos: list[zipfile.ZipInfo], directory_start: int) -> None:
    """Refuse overlapping entries, by which a few kilobytes expand to petabytes (D. Fifield, A better zip bomb, 2019).

    Python versions before 3.11.9 do not notice them.

    Args:
        infos: entries of the archive.
        directory_start: offset of the central directory in bytes, where the last entry must end.

    Raises:
        ArchiveError: two entries share bytes.
    """
    sorted_infos = sorted(infos, key=lambda zip_info: zip_info.header_offset)
    for info, next_start in zip(
        sorted_infos, [*(zip_info.header_offset for zip_info in sorted_infos), directory_start][1:], strict=True
    ):
        if info.header_offset + _MIN_HEADER_BYTES + info.compress_size > next_start:
            raise ArchiveError("overlap", entry=info.filename)


def _error_text(cause: BaseException) -> str:
    """Return the text of an error without its final period, to be put into a sentence."""
    return str(cause or type(cause).__name__).rstrip(".")
