"""What of a zip's entries is unpacked, under which name, and what makes the whole zip refused. Writes nothing.

Names follow APPNOTE 6.3.10 (PKWARE): bit 11 says UTF-8, else the code page is 437; macOS writes UTF-8 and does not
say so.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftlab.data.decode import EXTENSIONS
from ftlab.data.diagnosis import FOREIGN
from ftlab.data.listing import LISTS, Problem, ignored

DEEP = 32
"""Folders inside each other, above which a zip is refused."""
LONG = 255
"""Bytes of a name, the most that common file systems hold."""

_HEADER = 30
"""Bytes that stand before the name of an entry, at least."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8, _ENCRYPTED = 0x800, 0x1 | 0x40 | 0x2000
_INSIDE = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


class Refused(Exception):
    """The zip is not unpacked; `error.archive.<code>` says why.

    Args:
        code: in the words.
        values: what the sentence names.
    """

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True)
class Entry:
    """One file to write.

    Attributes:
        info: what the zip says of it.
        path: posix, below the folder of pictures; safe on every system.
    """

    info: zipfile.ZipInfo
    path: str


@dataclass
class Plan:
    """What is unpacked, in the zip's order, and what is left out.

    Attributes:
        files: to be written.
        problems: what is named to the person.
        others: files that are neither pictures nor lists, and are passed over.
    """

    files: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: int = 0

    def report(self) -> dict[str, Any]:
        """A plain dict, for whoever scans the folder later."""
        problems = [{"file": one.file, "code": one.code, "values": one.values} for one in self.problems]
        return {"problems": problems, "others": self.others, "pictures": len(self.files)}

    @staticmethod
    def folder(name: str) -> str:
        """A name for the folder of pictures: of a zip that came with any name."""
        return _part(name).lstrip(".")[:60].rstrip(". ") or "pictures"


def plan(archive: zipfile.ZipFile) -> Plan:
    """Look at every entry.

    Raises:
        Refused: one of them must not be unpacked.
    """
    entries = archive.infolist()
    _no_overlap(entries, archive.start_dir)
    found, spelt = Plan(), _Spelling()
    names = _names(entries)
    named: set[str] = set()
    for info, name in zip(entries, names, strict=True):
        _harmless(info, name)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or name.endswith("/") or any(map(ignored, parts)):
            continue
        suffix = os.path.splitext(parts[-1])[1].lower()
        path = "/".join(map(_part, parts))
        if suffix in FOREIGN:
            found.problems.append(Problem(path, "format", {"kind": FOREIGN[suffix]}))
        elif suffix in _INSIDE:
            found.problems.append(Problem(path, "archive_inside"))
        elif suffix in EXTENSIONS or (suffix in LISTS and len(parts) <= 2):
            _readable(info, name)
            spelt.add(path, name)
            found.files.append(Entry(info, path))
            found.problems += _renamed(path.split("/"), parts, named)
        else:
            found.others += 1
    return found


def _renamed(safe: list[str], parts: list[str], named: set[str]) -> Iterator[Problem]:
    """The folders and the file of a path that are written under another name; each is named once."""
    for depth, (new, old) in enumerate(zip(safe, parts, strict=True), 1):
        path = "/".join(safe[:depth])
        if new != unicodedata.normalize("NFC", old) and path not in named:
            named.add(path)
            yield Problem(path, "renamed")


def _names(entries: list[zipfile.ZipInfo]) -> list[str]:
    """The entries' names with `/` between folders, in the encoding that they seem to have."""
    raw = [info.orig_filename.replace("\\", "/") for info in entries]
    unmarked = [i for i, info in enumerate(entries) if not info.flag_bits & _UTF8 and not raw[i].isascii()]
    try:
        known = {i: raw[i].encode("cp437").decode("utf-8") for i in unmarked}
    except UnicodeError:
        return raw
    return [known.get(i, name) for i, name in enumerate(raw)]


def _harmless(info: zipfile.ZipInfo, name: str) -> None:
    """Refuse names that lead elsewhere, and entries that are neither file nor folder."""
    parts = name.split("/")
    if "\0" in name or not name:
        raise Refused("name", entry=name)
    if name.startswith("/") or _DRIVE.match(name):
        raise Refused("absolute", entry=name)
    if ".." in parts:
        raise Refused("traversal", entry=name)
    if len(parts) > DEEP:
        raise Refused("deep", entry=name, limit=DEEP)
    if any(len(unicodedata.normalize("NFC", part).encode("utf-8", "replace")) > LONG for part in parts):
        raise Refused("long", entry=name, limit=LONG)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused("link" if kind == stat.S_IFLNK else "special", entry=name)


def _readable(info: zipfile.ZipInfo, name: str) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise Refused("encrypted", entry=name)
    if info.compress_type not in _METHODS:
        raise Refused("method", entry=name, method=info.compress_type)


def _no_overlap(entries: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse entries that share bytes: so a few kilobytes are made to expand to petabytes (D. Fifield, A better zip
    bomb, 2019). Pythons before 3.11.9 do not notice."""
    ordered = sorted(entries, key=lambda one: one.header_offset)
    for info, start in zip(ordered, [*(one.header_offset for one in ordered), end][1:], strict=True):
        if info.header_offset + _HEADER + info.compress_size > start:
            raise Refused("overlap", entry=info.filename)


def _part(name: str) -> str:
    """One folder's or file's name as every system can hold it, accents composed."""
    safe = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ") or "_"
    return f"_{safe}" if _RESERVED.match(safe) else safe


class _Spelling:
    """Sees to it that no two paths, nor the folders on their way, are one and the same on some system."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.folders: dict[str, str] = {}

    def add(self, path: str, name: str) -> None:
        """Raises `Refused` when another entry has that name."""
        folder, _, _ = path.rpartition("/")
        while folder:
            known = self.folders.setdefault(folder.casefold(), folder)
            if known != folder:
                raise Refused("twins", entry=name, other=known)
            if folder.casefold() in self.files:
                raise Refused("twins", entry=name, other=self.files[folder.casefold()])
            folder, _, _ = folder.rpartition("/")
        key = path.casefold()
        if key in self.files or key in self.folders:
            raise Refused("twins", entry=name, other=self.files.get(key) or self.folders[key])
        self.files[key] = name
