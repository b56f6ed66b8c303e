"""What of an archive's entries is unpacked, under which name, and what makes all of it refused. Writes nothing."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.sources.listing import MANIFEST_SUFFIXES, DatasetProblem, is_ignored

MAX_FOLDER_DEPTH = 32
"""Folders inside each other, above which an archive is refused."""
MAX_NAME_BYTES = 255
"""Bytes of a name, the most that common file systems hold."""

_NESTED_ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_FORBIDDEN_CHARACTERS = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_DRIVE_LETTER = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        max_entries: files and folders, of any kind.
        max_bytes: of all files that are unpacked, together.
        max_ratio: of those bytes to the size of the archive; counts above 100 MB only, for a small drawing can shrink a
            lot.
        min_free_bytes: bytes that stay free on the disk.
    """

    max_entries: int = 1_000_000
    max_bytes: int = 1 << 40
    max_ratio: int = 200
    min_free_bytes: int = 1 << 30


class ArchiveError(Exception):
    """The archive is not unpacked; `error.archive.<code>` says why.

    Args:
        code: in the words.
        values: what the sentence names.
    """

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True)
class ArchiveMember:
    """One entry, as an archive lists it.

    Attributes:
        name: as it stands there, folders parted by `/`.
        size_bytes: of its content in bytes, as the archive says.
        kind: `file`, `folder`, `link` or `special`.
        handle: what its archive knows it by.
        read_error: why its content cannot be read, as for `ArchiveError`; None where it can.
    """

    name: str
    size_bytes: int
    kind: str
    handle: Any
    read_error: ArchiveError | None = None


@dataclass(frozen=True)
class UnpackEntry:
    """One file to write.

    Attributes:
        member: as the archive has it.
        path: posix, below the folder of pictures; safe on every system.
    """

    member: ArchiveMember
    path: str


@dataclass
class UnpackPlan:
    """What is unpacked, in the archive's order, and what is left out.

    Attributes:
        files: to be written.
        problems: what is named to the person.
        skipped_count: files that are neither pictures nor lists, and are passed over.
    """

    files: list[UnpackEntry] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)
    skipped_count: int = 0

    def to_report(self) -> dict[str, Any]:
        """A plain dict, for whoever scans the folder later."""
        problems = [{"file": problem.file, "code": problem.code, "values": problem.values} for problem in self.problems]
        return {"problems": problems, "others": self.skipped_count, "pictures": len(self.files)}

    @staticmethod
    def safe_folder_name(name: str) -> str:
        """A name for the folder of pictures: of an archive that came with any name."""
        return _sanitize_name(name).lstrip(".")[:60].rstrip(". ") or "pictures"


def plan_unpacking(members: Iterable[ArchiveMember], skip_names: Collection[str] = ()) -> UnpackPlan:
    """Look at every entry.

    Args:
        members: of the archive, in its order.
        skip_names: names of files and folders that are passed over, wherever they lie.

    Raises:
        Refused: one of them must not be unpacked.
    """
    unpack_plan, used_paths = UnpackPlan(), _CaseInsensitivePaths()
    renamed_paths: set[str] = set()
    for member in members:
        _check_member(member)
        name = member.name
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or member.kind == "folder" or any(map(is_ignored, parts)):
            continue
        suffix = os.path.splitext(parts[-1])[1].lower()
        path = "/".join(map(_sanitize_name, parts))
        if any(part in skip_names for part in parts):
            unpack_plan.skipped_count += 1
        elif suffix in UNSUPPORTED_FORMATS:
            unpack_plan.problems.append(DatasetProblem(path, "format", {"kind": UNSUPPORTED_FORMATS[suffix]}))
        elif suffix in _NESTED_ARCHIVE_SUFFIXES:
            unpack_plan.problems.append(DatasetProblem(path, "archive_inside"))
        elif suffix in IMAGE_SUFFIXES or (suffix in MANIFEST_SUFFIXES and len(parts) <= 2):
            if member.read_error:
                raise member.read_error
            used_paths.add_path(path, name)
            unpack_plan.files.append(UnpackEntry(member, path))
            unpack_plan.problems += _report_renamed(path.split("/"), parts, renamed_paths)
        else:
            unpack_plan.skipped_count += 1
    return unpack_plan


def _report_renamed(safe_parts: list[str], parts: list[str], renamed_paths: set[str]) -> Iterator[DatasetProblem]:
    """The folders and the file of a path that are written under another name; each is named once."""
    for depth, (new_name, old_name) in enumerate(zip(safe_parts, parts, strict=True), 1):
        path = "/".join(safe_parts[:depth])
        if new_name != unicodedata.normalize("NFC", old_name) and path not in renamed_paths:
            renamed_paths.add(path)
            yield DatasetProblem(path, "renamed")


def _check_member(member: ArchiveMember) -> None:
    """Refuse names that lead elsewhere, and entries that are neither file nor folder."""
    name = member.name
    parts = name.split("/")
    if "\0" in name or not name:
        raise ArchiveError("name", entry=name)
    if name.startswith("/") or _DRIVE_LETTER.match(name):
        raise ArchiveError("absolute", entry=name)
    if ".." in parts:
        raise ArchiveError("traversal", entry=name)
    if len(parts) > MAX_FOLDER_DEPTH:
        raise ArchiveError("deep", entry=name, limit=MAX_FOLDER_DEPTH)
    if any(len(unicodedata.normalize("NFC", part).encode("utf-8", "replace")) > MAX_NAME_BYTES for part in parts):
        raise ArchiveError("long", entry=name, limit=MAX_NAME_BYTES)
    if member.kind not in ("file", "folder"):
        raise ArchiveError(member.kind, entry=name)


def _sanitize_name(name: str) -> str:
    """One folder's or file's name as every system can hold it, accents composed."""
    safe_name = _FORBIDDEN_CHARACTERS.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ") or "_"
    return f"_{safe_name}" if _RESERVED_NAMES.match(safe_name) else safe_name


class _CaseInsensitivePaths:
    """Sees to it that no two paths, nor the folders on their way, are one and the same on some system."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.folders: dict[str, str] = {}

    def add_path(self, path: str, entry_name: str) -> None:
        """Raises `ArchiveError` when another entry has that name."""
        folder, _, _ = path.rpartition("/")
        while folder:
            known_folder = self.folders.setdefault(folder.casefold(), folder)
            if known_folder != folder:
                raise ArchiveError("twins", entry=entry_name, other=known_folder)
            if folder.casefold() in self.files:
                raise ArchiveError("twins", entry=entry_name, other=self.files[folder.casefold()])
            folder, _, _ = folder.rpartition("/")
        key = path.casefold()
        if key in self.files or key in self.folders:
            raise ArchiveError("twins", entry=entry_name, other=self.files.get(key) or self.folders[key])
        self.files[key] = entry_name
