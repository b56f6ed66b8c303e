"""Read a text file whose encoding is not known. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from ftlab.core import content_kinds, file_io, messages
from ftlab.core.errors import DataError
from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.sources import matlab_files
from ftlab.data.sources.listing import DatasetProblem
from ftlab.data.sources.name_encoding import detect_name_encoding

TableRow = tuple[int, list[str]]
"""Line number, from 1, and the cells of a row."""

MAX_MANIFEST_BYTES = 1 << 30
"""Size of a manifest in bytes above which it is refused, because it is read as a whole."""
# Excel on Windows saves "CSV" in the code page of the system.
_WINDOWS_ENCODINGS = (
    *("cp1252", "gbk", "big5", "cp932", "cp949", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp874"),
)
_CELL_SAMPLE_BYTES = 1 << 20
"""Bytes of a file whose cells decide its encoding."""
_UTF16_SAMPLE_BYTES = 400
"""Bytes from which UTF-16 and UTF-32 without a byte order mark are detected."""
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of a workbook of Excel before 2007."""
WORKBOOK_SUFFIXES = frozenset((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers"))
TABLE_FILE_SUFFIXES = frozenset((".parquet", ".feather", ".arrow"))
PACKED_SUFFIXES = frozenset((".gz", ".bz2", ".xz", ".zst"))
"""Suffixes of a compressed list, after its own: `labels.csv.gz`."""
_CONTROL_BYTES = bytes({*range(32)} - {*b"\t\n\v\f\r"})
_MAX_CONTROL_SHARE = 0.1
"""Fraction of control characters above which a file is no text."""
_IMAGE_NAME = re.compile(
    rf"[^\s\"'/\\][^\"'/\\\n]{{0,250}}(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})(?=[\"'\s])", re.IGNORECASE
)


def read_text(file: Path, problems: list[DatasetProblem], max_bytes: int | None = None) -> str:
    """Read a text file as UTF-8 or UTF-16; else in a guessed encoding of Windows, which is reported.

    Args:
        file: the file.
        problems: extended in place.
        max_bytes: read at most the first so many bytes, up to the last complete line; None: everything.

    Returns:
        Its text, without the byte order mark.

    Raises:
        DataError: the file is too large or cannot be read.
        _foreign_file_error: it is no list: an archive, a workbook, a web page.
    """
    try:
        if max_bytes is None and file.stat().st_size > MAX_MANIFEST_BYTES:
            raise DataError("data.list_large", file=file, limit=MAX_MANIFEST_BYTES >> 20)
        with file_io.open_regular_file(file) as stream:
            data = stream.read(max_bytes)
    except OSError as cause:
        raise DataError("data.unreadable", folder=file, cause=cause.strerror or cause) from cause
    is_cut = max_bytes is not None and len(data) == max_bytes
    wide_encoding, char_bytes = (utf32, 4) if (utf32 := _detect_utf32(data)) else (_detect_utf16(data), 2)
    foreign_kind = _detect_foreign_kind(data, file.suffix.lower(), is_text=wide_encoding is not None)
    if foreign_kind:
        raise _foreign_file_error(file, foreign_kind)
    try:
        if wide_encoding:
            whole_chars = data[: len(data) // char_bytes * char_bytes]
            text = whole_chars.decode(wide_encoding, "replace" if is_cut else "strict").removeprefix("\ufeff")
        else:
            text = (_cut_to_last_line(data) if is_cut else data).decode("utf-8-sig")
    except UnicodeDecodeError:
        encoding = detect_name_encoding(_split_cells(data), _WINDOWS_ENCODINGS)
        code = "list_encoding" if encoding == "cp1252" else "list_encoding_guess"
        problems.append(DatasetProblem(file.name, code, {} if encoding == "cp1252" else {"encoding": encoding}))
        text = data.decode(encoding, "replace")
    return text[: text.rfind("\n") + 1] or text if is_cut else text


def mentions_images(file: Path, min_count: int = 2) -> bool:
    """Return whether the beginning of a text file has the names of several images in it.

    Args:
        file: a file of any content.
        min_count: number of different names.
    """
    try:
        text = read_text(file, [], _CELL_SAMPLE_BYTES)
    except DataError:
        return False
    names: set[str] = set()
    for match in _IMAGE_NAME.finditer(text):
        names.add(match[0])
        if len(names) >= min_count:
            return True
    return False


def _foreign_file_error(file: Path, kind: str) -> DataError:
    """Return the error for a file that is no list, by its kind: a key below `list.is`."""
    command = {"command": matlab_files.format_conversion(file)} if kind == "matlab" else {}
    values = {
        "kind": messages.get_text(f"list.is.{kind}"),
        "advice": messages.get_text(f"list.advice.{kind}", **command),
    }
    return DataError("data.list_foreign", file=file, key=kind, **values)


def _detect_foreign_kind(data: bytes, suffix: str, *, is_text: bool) -> str:
    """Return what a file is that is no list, as a key below `list.is`; empty for a text.

    Args:
        data: its content, or the beginning of it.
        suffix: of its name, lower case.
        is_text: whether it is known to be text, in UTF-16 for example.
    """
    head = data[: content_kinds.HEAD_BYTES]
    if suffix in WORKBOOK_SUFFIXES or head.startswith(_OLE_MAGIC):
        return "workbook"
    if suffix in TABLE_FILE_SUFFIXES or head.startswith((b"PAR1", b"ARROW1")):
        return "table_file"
    archive_format = content_kinds.find_archive_format(head)
    if archive_format == "zip" and (b"[Content_Types].xml" in head or b"xl/" in head):
        return "workbook"
    if archive_format or suffix in PACKED_SUFFIXES:
        return "archive"
    if is_text:
        return ""
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        return "empty" if len(data) <= len(head) else ""
    text_kind = content_kinds.find_text_kind(head)
    if text_kind in content_kinds.MISPLACED_TEXT_KINDS:
        return text_kind
    if suffix == matlab_files.MATLAB_SUFFIX:
        return "matlab"
    is_binary = len(head) - len(head.translate(None, _CONTROL_BYTES)) > _MAX_CONTROL_SHARE * len(head)
    return "binary" if is_binary else ""


def _detect_utf32(data: bytes) -> str | None:
    """Return the name of the UTF-32 encoding of a file, from its byte order mark or its NUL bytes; None for others."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    sample = data[: _UTF16_SAMPLE_BYTES // 4 * 4]
    planes = [sample[index::4] for index in range(4)]
    # The two upper bytes of every character are NUL, but for a few rare ones; the lowest byte never is.
    if len(sample) >= 8 and not planes[3].strip(b"\0") and not planes[2].strip(b"\0") and planes[0].count(0) == 0:
        return "utf-32-le"
    if len(sample) >= 8 and not planes[0].strip(b"\0") and not planes[1].strip(b"\0") and planes[3].count(0) == 0:
        return "utf-32-be"
    return None


def _detect_utf16(data: bytes) -> str | None:
    """Return the name of the UTF-16 encoding of a file, from its byte order mark or its NUL bytes; None for others."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even_bytes, odd_bytes = data[:_UTF16_SAMPLE_BYTES:2], data[1:_UTF16_SAMPLE_BYTES:2]
    # Delimiters and line ends are ASCII: at least some of their upper bytes are NUL, and no lower byte is.
    if odd_bytes.count(0) * 4 > len(odd_bytes) and not even_bytes.count(0):
        return "utf-16-le"
    if even_bytes.count(0) * 4 > len(even_bytes) and not odd_bytes.count(0):
        return "utf-16-be"
    return None


def _split_cells(data: bytes) -> list[bytes]:
    """Return the different cells at the beginning of a file that are not ASCII."""
    cells = re.split(rb"[\t\r\n\",;/]", _cut_to_last_line(data[:_CELL_SAMPLE_BYTES]))
    return [*{cell for cell in cells if not cell.isascii()}]


def _cut_to_last_line(data: bytes) -> bytes:
    """Return the data up to its last line end, so that no character is cut in two."""
    return data[: data.rfind(b"\n") + 1] or data
