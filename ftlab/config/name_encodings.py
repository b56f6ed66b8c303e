"""Encodings that the file names in archives may have."""

from __future__ import annotations

NAME_ENCODINGS = (
    *("gbk", "gb18030", "big5", "cp932", "cp949", "cp866", "cp1251", "koi8-r", "cp437", "cp850", "cp852", "cp1250"),
    *("cp1252", "cp737", "cp1253", "cp857", "cp1254", "cp862", "cp1255", "cp720", "cp1256", "cp874", "cp1258", "utf-8"),
)
"""Encodings of the file names in archives: those of Windows and DOS in many languages, and UTF-8."""
