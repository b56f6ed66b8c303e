"""Read a text file whose encoding is not known. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import DataError
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
"""Bytes from which UTF-16 without a byte order mark is detected."""


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
    """
    try:
        if max_bytes is None and file.stat().st_size > MAX_MANIFEST_BYTES:
            raise DataError("data.list_large", file=file, limit=MAX_MANIFEST_BYTES >> 20)
        with file_io.open_regular_file(file) as stream:
            data = stream.read(max_bytes)
    except OSError as cause:
        raise DataError("data.unreadable", folder=file, cause=cause.strerror or cause) from cause
    is_cut = max_bytes is not None and len(data) == max_bytes
    utf16 = _detect_utf16(data)
    try:
        if utf16:
            text = data[: len(data) // 2 * 2].decode(utf16, "replace" if is_cut else "strict").removeprefix("\ufeff")
        else:
            text = (_cut_to_last_line(data) if is_cut else data).decode("utf-8-sig")
    except UnicodeDecodeError:
        encoding = detect_name_encoding(_split_cells(data), _WINDOWS_ENCODINGS)
        code = "list_encoding" if encoding == "cp1252" else "list_encoding_guess"
        problems.append(DatasetProblem(file.name, code, {} if encoding == "cp1252" else {"encoding": encoding}))
        text = data.decode(encoding, "replace")
    return text[: text.rfind("\n") + 1] or text if is_cut else text


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
