"""What of an archive's entries is unpacked, under which name, and what makes all of it refused. Writes nothing."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ftlab.data.images.decode import EXTENSIONS
from ftlab.data.images.diagnosis import FOREIGN
from ftlab.data.sources.listing import LISTS, Problem, ignored

DEEP = 32
"""Folders inside each other, above which an archive is refused."""
LONG = 255
"""Bytes of a name, the most that common file systems hold."""

_INSIDE = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    Attributes:
        entries: files and folders, of any kind.
        bytes: of all files that are unpacked, together.
        ratio: of those bytes to the size of the archive; counts above 100 MB only, for a small drawing can shrink a
            lot.
        reserve: bytes that stay free on the disk.
    """

    entries: int = 1_000_000
    bytes: int = 1 << 40
    ratio: int = 200
    reserve: int = 1 << 30


class Refused(Exception):
    """The archive is not unpacked; `error.archive.<code>` says why.

    Args:
        code: in the words.
        values: what the sentence names.
    """

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True)
class Member:
    """One entry, as an archive lists it.

    Attributes:
        name: as it stands there, folders parted by `/`.
        size: of its content in bytes, as the archive says.
        kind: `file`, `folder`, `link` or `special`.
        handle: what its archive knows it by.
        closed: why its content cannot be read, as for `Refused`; None where it can.
    """

    name: str
    size: int
    kind: str
    handle: Any
    closed: Refused | None = None


@dataclass(frozen=True)
class Entry:
    """One file to write.

    Attributes:
        member: as the archive has it.
        path: posix, below the folder of pictures; safe on every system.
    """

    member: Member
    path: str


@dataclass
class Plan:
    """What is unpacked, in the archive's order, and what is left out.

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
        """A name for the folder of pictures: of an archive that came with any name."""
        return _part(name).lstrip(".")[:60].rstrip(". ") or "pictures"


def plan(members: Iterable[Member], skip: Collection[str] = ()) -> Plan:
    """Look at every entry.

    Args:
        members: of the archive, in its order.
        skip: names of files and folders that are passed over, wherever they lie.

    Raises:
        Refused: one of them must not be unpacked.
    """
    found, spelt = Plan(), _Spelling()
    named: set[str] = set()
    for member in members:
        _harmless(member)
        name = member.name
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or member.kind == "folder" or any(map(ignored, parts)):
            continue
        suffix = os.path.splitext(parts[-1])[1].lower()
        path = "/".join(map(_part, parts))
        if any(part in skip for part in parts):
            found.others += 1
        elif suffix in FOREIGN:
            found.problems.append(Problem(path, "format", {"kind": FOREIGN[suffix]}))
        elif suffix in _INSIDE:
            found.problems.append(Problem(path, "archive_inside"))
        elif suffix in EXTENSIONS or (suffix in LISTS and len(parts) <= 2):
            if member.closed:
                raise member.closed
            spelt.add(path, name)
            found.files.append(Entry(member, path))
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


def _harmless(member: Member) -> None:
    """Refuse names that lead elsewhere, and entries that are neither file nor folder."""
    name = member.name
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
    if member.kind not in ("file", "folder"):
        raise Refused(member.kind, entry=name)


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
