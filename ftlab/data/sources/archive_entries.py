"""Plan the unpacking of an archive: which entries, under which names, and what is refused. Writes nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ftlab.data.images.decode import IMAGE_SUFFIXES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.sources.file_suffixes import get_suffix, is_document, may_hold_image
from ftlab.data.sources.listing import (
    LOOSE_MANIFEST_SUFFIXES,
    MANIFEST_SUFFIXES,
    OTHER_FILES_CODE,
    DatasetProblem,
    is_ignored,
)

_MAX_MANIFEST_DEPTH = 4
"""Parts of the path of a manifest, for example `set/data/train/metadata.csv`."""
_LOOSE_MANIFEST_NAME = re.compile(
    r"train|val|test|label|class|annot|meta|split|list|image|names|dataset|instances|categor|map"
)
"""Parts of the names of text and JSON files that list images or name classes."""
_MAX_LOOSE_MANIFESTS = 20
"""Text and JSON files of a folder that are unpacked: more belong to one image each."""
_MAX_NAMED_ARCHIVES = 3
"""Archives in an archive that an error names."""
MAX_FOLDER_DEPTH = 32
"""Depth of nested folders above which an archive is refused."""
MAX_NAME_BYTES = 255
"""Longest name of a file or folder in bytes: the limit of common file systems (ext4, APFS, NTFS)."""

_NESTED_ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
# Characters and device names that Windows forbids, and lone surrogates, which UTF-8 cannot encode.
_FORBIDDEN_CHARACTERS = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_DRIVE_LETTER = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on the size of an archive's content.

    Attributes:
        max_entries: files and folders of any kind.
        max_bytes: total size of the unpacked files in bytes.
        max_ratio: ratio of that size to the size of the archive; checked above 100 MB only, because drawings can
            compress that well.
        min_free_bytes: bytes that must stay free on the disk.
    """

    max_entries: int = 1_000_000
    max_bytes: int = 1 << 40
    max_ratio: int = 200
    min_free_bytes: int = 1 << 30


class ArchiveError(Exception):
    """An archive that must not or cannot be unpacked; the message `error.archive.<code>` gives the reason.

    Args:
        code: key of the message.
        values: placeholders of the message.
    """

    def __init__(self, code: str, **values: object) -> None:
        """Store the key and the placeholders of the message."""
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True)
class ArchiveMember:
    """An entry as an archive lists it.

    Attributes:
        name: as it is in the archive, with `/` between folders.
        size_bytes: size of its content in bytes according to the archive.
        kind: `file`, `folder`, `link` or `special`.
        handle: identifies the entry to its archive.
        read_error: raised where the entry is to be unpacked (encrypted, unknown compression); None if it is readable.
    """

    name: str
    size_bytes: int
    kind: str
    handle: Any
    read_error: ArchiveError | None = None


@dataclass(frozen=True)
class UnpackEntry:
    """A file to write.

    Attributes:
        member: the entry of the archive.
        path: POSIX path below the folder of images; valid on every system.
        needs_image_content: its name does not say that it is an image; written only if its first bytes do.
    """

    member: ArchiveMember
    path: str
    needs_image_content: bool = False


@dataclass
class UnpackPlan:
    """Files to unpack, in the archive's order, and what is left out.

    Attributes:
        files: files to write.
        problems: files that are reported to the user.
        other_counts: number of files that are neither images nor manifests and are left out, by suffix.
    """

    files: list[UnpackEntry] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)
    other_counts: Counter[str] = field(default_factory=Counter)

    def leave_out(self, path: str) -> None:
        """Report a file that is neither an image that can be decoded nor a manifest; documents are not reported."""
        suffix = get_suffix(path)
        if suffix in UNSUPPORTED_FORMATS:
            self.problems.append(DatasetProblem(path, "format", {"kind": UNSUPPORTED_FORMATS[suffix]}))
        elif not is_document(path.rpartition("/")[2], suffix):
            self.other_counts[suffix] += 1

    def check_holds_images(self) -> None:
        """Refuse an archive of archives.

        Raises:
            ArchiveError: there are archives in it, and nothing that can be an image.
        """
        inner = [problem.file for problem in self.problems if problem.code == "archive_inside"]
        holds_images = any(
            entry.needs_image_content or get_suffix(entry.path) in IMAGE_SUFFIXES for entry in self.files
        )
        if inner and not holds_images:
            names = ", ".join(inner[:_MAX_NAMED_ARCHIVES]) + (" …" if len(inner) > _MAX_NAMED_ARCHIVES else "")
            raise ArchiveError("nested", names=names)

    def to_report(self) -> dict[str, Any]:
        """Return a plain dict, which is stored for later scans of the folder."""
        other_files = [
            DatasetProblem(".", OTHER_FILES_CODE, {"suffix": suffix, "count": count})
            for suffix, count in self.other_counts.items()
        ]
        problems = [
            {"file": problem.file, "code": problem.code, "values": problem.values}
            for problem in [*self.problems, *other_files]
        ]
        return {"problems": problems}

    @staticmethod
    def safe_folder_name(name: str) -> str:
        """Return a valid name for the folder of images, from the name of the archive."""
        return _sanitize_name(name).lstrip(".")[:60].rstrip(". ") or "pictures"


def plan_unpacking(members: Iterable[ArchiveMember], skip_names: Collection[str] = ()) -> UnpackPlan:
    """Check every entry of an archive and plan what is unpacked.

    An entry that must not be unpacked raises an `ArchiveError`: links, special files, names that are absolute, lead
    out of the folder or collide on some file system, and images that are encrypted or compressed in an unknown way.

    Args:
        members: entries in the order of the archive.
        skip_names: names of files and folders that are left out, wherever they are.

    Returns:
        The plan.
    """
    unpack_plan, used_paths = UnpackPlan(), _CaseInsensitivePaths()
    renamed_paths: set[str] = set()
    loose_counts: Counter[str] = Counter()
    for member in members:
        _check_member(member)
        name = member.name
        # `./a` and `a//b` are valid names in tar files; `..` was refused above.
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or member.kind == "folder" or any(map(is_ignored, parts)):
            continue
        suffix = get_suffix(parts[-1])
        path = "/".join(map(_sanitize_name, parts))
        if any(part in skip_names for part in parts):
            continue
        if suffix in _NESTED_ARCHIVE_SUFFIXES:
            unpack_plan.problems.append(DatasetProblem(path, "archive_inside"))
        # Manifests only near the top: others are most often metadata of other tools.
        elif suffix in IMAGE_SUFFIXES or (
            len(parts) <= _MAX_MANIFEST_DEPTH and _is_manifest_entry(path, suffix, loose_counts)
        ):
            # Only now: an encrypted text file must not keep the images from being unpacked.
            if member.read_error:
                raise member.read_error
            used_paths.add_path(path, name)
            unpack_plan.files.append(UnpackEntry(member, path))
            unpack_plan.problems += _report_renamed(path.split("/"), parts, renamed_paths)
        # What cannot be unpacked may be anything, and must not keep the images from being unpacked.
        elif may_hold_image(parts[-1], suffix) and not member.read_error and not used_paths.find_twin(path):
            used_paths.add_path(path, name)
            unpack_plan.files.append(UnpackEntry(member, path, needs_image_content=True))
        else:
            unpack_plan.leave_out(path)
    return unpack_plan


def _is_manifest_entry(path: str, suffix: str, loose_counts: Counter[str]) -> bool:
    """Return whether a file may be a manifest; of text and JSON files, the first few of each folder that are named so.

    Args:
        path: of the file.
        suffix: of its name, lower case.
        loose_counts: number of such files by folder; changed in place.
    """
    if suffix not in LOOSE_MANIFEST_SUFFIXES:
        return suffix in MANIFEST_SUFFIXES
    folder, _, name = path.rpartition("/")
    if not _LOOSE_MANIFEST_NAME.search(name.casefold()):
        return False
    loose_counts[folder] += 1
    return loose_counts[folder] <= _MAX_LOOSE_MANIFESTS


def _report_renamed(safe_parts: list[str], parts: list[str], renamed_paths: set[str]) -> Iterator[DatasetProblem]:
    """Yield a problem for each folder and file of a path that is written under another name, unless it was reported.

    Args:
        safe_parts: names as they are written.
        parts: names as they are in the archive.
        renamed_paths: paths that were reported already; extended in place.

    Yields:
        One problem per renamed folder or file.
    """
    for depth, (new_name, old_name) in enumerate(zip(safe_parts, parts, strict=True), 1):
        path = "/".join(safe_parts[:depth])
        if new_name != unicodedata.normalize("NFC", old_name) and path not in renamed_paths:
            renamed_paths.add(path)
            yield DatasetProblem(path, "renamed")


def _check_member(member: ArchiveMember) -> None:
    """Refuse names that lead out of the folder, and entries that are neither file nor folder.

    Args:
        member: entry of an archive.

    Raises:
        ArchiveError: the entry must not be unpacked.
    """
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
    """Return the name of a folder or file as every file system can hold it, in Unicode normal form C."""
    safe_name = _FORBIDDEN_CHARACTERS.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ") or "_"
    return f"_{safe_name}" if _RESERVED_NAMES.match(safe_name) else safe_name


class _CaseInsensitivePaths:
    """Set of paths that refuses two paths, or folders on their way, that are the same where case is ignored."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.folders: dict[str, str] = {}

    def find_twin(self, path: str) -> str:
        """Return what has the same path, or a folder of it, where case is ignored; "" where the path can be added."""
        folder, _, _ = path.rpartition("/")
        while folder:
            known_folder = self.folders.get(folder.casefold(), folder)
            if known_folder != folder:
                return known_folder
            if folder.casefold() in self.files:
                return self.files[folder.casefold()]
            folder, _, _ = folder.rpartition("/")
        key = path.casefold()
        return self.files.get(key) or self.folders.get(key, "")

    def add_path(self, path: str, entry_name: str) -> None:
        """Add the path of a file.

        Args:
            path: POSIX path.
            entry_name: name of the entry, for the error.

        Raises:
            ArchiveError: another entry has that path, or a folder of it, in another case.
        """
        if twin := self.find_twin(path):
            if twin == entry_name and path.casefold() in self.files:
                raise ArchiveError("twice", entry=entry_name)
            raise ArchiveError("twins", entry=entry_name, other=twin)
        self.files[path.casefold()] = entry_name
        folder, _, _ = path.rpartition("/")
        while folder and folder.casefold() not in self.folders:
            self.folders[folder.casefold()] = folder
            folder, _, _ = folder.rpartition("/")
