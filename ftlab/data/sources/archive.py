"""Unpack the images of a zip or tar archive into a folder, completely or not at all, within size limits. No torch.

Archives are untrusted: every name is checked, links and special files are refused, and sizes in headers are not
believed but counted while writing. Characters and names that some file system cannot hold (`CON`, `a:b`, a newline, a
trailing dot) are replaced by `_`, so that an archive gives the same classes on every system.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftlab.core import content_kinds, file_io, user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import archive_kinds, tar_file, zip_file
from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, plan_unpacking
from ftlab.data.sources.archive_writing import UnpackProgress, check_declared_size, write_files
from ftlab.data.sources.listing import DatasetProblem

ARCHIVE_SUFFIXES = (*zip_file.ZIP_SUFFIXES, *tar_file.TAR_SUFFIXES)
"""Suffixes of archives that can be unpacked."""

_REPORT_FILE_NAME = ".ftlab-archive.json"
"""File next to the folder of images: the folder's name, and what was not unpacked."""
_FILE_KEY = "file"
"""Key of the report for the name of the archive."""
_NAMES_KEY = "names"
"""Key of the report for the guessed encoding of the names."""
_CHOSEN_NAMES_KEY = "chosen_names"
"""Key of the report for the encoding of the names that was asked for."""


def is_archive(path: Path) -> bool:
    """Return whether a path has the suffix of an archive; its content is checked when it is unpacked."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def ensure_unpacked(file: Path, progress: UnpackProgress | None = None, name_encoding: str = "") -> Path:
    """Return the folder of an archive's images in `FTLAB_HOME`, unpacked if it is not there yet.

    The folder is named by the hash of the content, so that copies of an archive are unpacked once for each encoding.

    Args:
        file: the archive.
        progress: called with the number of files unpacked and of all files.
        name_encoding: of the names; empty: it is detected.

    Returns:
        The folder of images.

    Raises:
        DataError: as for `unpack_archive`.
    """
    try:
        file_stat = file.stat()
        # Resolved, so that a link that now leads to another file of the same size and time is not mistaken for it.
        key = _hash_content(file.resolve(), file_stat.st_size, file_stat.st_mtime_ns)
    except OSError as cause:
        raise DataError("archive.unreadable", file=file, cause=cause.strerror or cause) from cause
    suffix = f"-{name_encoding}" if name_encoding else ""
    unpack_folder = _get_archives_dir() / f"{key}{suffix}"
    if (
        not name_encoding
        and unpack_folder.is_dir()
        and _NAMES_KEY not in _read_report(unpack_folder / _REPORT_FILE_NAME)
    ):
        # Unpacked by a version that did not detect encodings; other files of the folder may be in use.
        unpack_folder = unpack_folder.with_name(f"{key}-detected") if _guess_encoding(file) else unpack_folder
    if unpack_folder.is_dir():
        return find_image_folder(unpack_folder)
    return unpack_archive(file, unpack_folder, progress=progress, name_encoding=name_encoding)


def find_image_folder(unpack_folder: Path) -> Path:
    """Return the folder of images in a folder that `unpack_archive` made.

    Args:
        unpack_folder: the folder that was passed to `unpack_archive`.

    Returns:
        The folder of images.

    Raises:
        DataError: the folder was not made by `unpack_archive`, or was damaged.
    """
    name = _read_report(unpack_folder / _REPORT_FILE_NAME).get("folder")
    if not isinstance(name, str):
        raise DataError("data.missing", folder=unpack_folder)
    return unpack_folder / name


def read_name_encodings(unpack_folder: Path) -> tuple[str, str]:
    """Return the encodings of the names that were asked for and guessed when `unpack_archive` made a folder.

    Args:
        unpack_folder: the folder that was passed to `unpack_archive`.

    Returns:
        Both, "" for none.
    """
    report = _read_report(unpack_folder / _REPORT_FILE_NAME)
    return str(report.get(_CHOSEN_NAMES_KEY) or ""), str(report.get(_NAMES_KEY) or "")


def unpack_archive(
    file: Path,
    unpack_folder: Path,
    limits: ArchiveLimits | None = None,
    *,
    folder_name: str | None = None,
    skip_names: Collection[str] = (),
    name_encoding: str = "",
    progress: UnpackProgress | None = None,
) -> Path:
    """Unpack the images of an archive, and the manifests at its top, into a new folder, completely or not at all.

    Args:
        file: the archive.
        unpack_folder: the folder to make; it contains the folder of images and a report of what was left out.
        limits: size limits; None: the default ones.
        folder_name: name of the folder of images; None: that of the archive.
        skip_names: names of files and folders that are left out, wherever they are.
        name_encoding: of the names that do not say theirs; empty: it is detected, and reported if it was a guess.
        progress: called with the number of files written and of all files.

    Returns:
        The folder of images.

    Raises:
        DataError: the archive is none, is damaged, exceeds the limits, or contains something that must not be
            unpacked. The message names the entry. Nothing is left behind.
    """
    limits = limits or ArchiveLimits()
    try:
        with (
            _get_archive_module(file).open_archive(file, limits, name_encoding) as archive,
            user_dirs.atomic_folder(unpack_folder) as draft,
        ):
            unpack_plan = plan_unpacking(archive.list_members(), skip_names)
            if archive.guessed_encoding:
                values: dict[str, str | int] = {"encoding": archive.guessed_encoding}
                unpack_plan.problems.append(DatasetProblem(".", "zip_names", values))
            unpack_plan.check_holds_images()
            check_declared_size(unpack_plan.files, file, limits, draft)
            image_folder = draft / unpack_plan.safe_folder_name(folder_name or _strip_suffix(file))
            image_folder.mkdir()
            write_files(archive, unpack_plan, image_folder, file, limits, draft, progress)
            report = {**unpack_plan.to_report(), "folder": image_folder.name, _FILE_KEY: file.name}
            report |= {_NAMES_KEY: archive.guessed_encoding, _CHOSEN_NAMES_KEY: name_encoding}
            (draft / _REPORT_FILE_NAME).write_text(json.dumps(report), encoding="utf-8")
    except ArchiveError as refusal:
        reason = archive_kinds.explain_damage(file, refusal) if refusal.code == "damaged" else refusal
        raise DataError(f"archive.{reason.code}", file=file.name, **reason.values) from refusal
    # MemoryError: a header may ask the decompressor (xz) or the reader of the directory for gigabytes.
    except (OSError, MemoryError) as cause:
        disk_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            "archive.space" if disk_full else "archive.unreadable", file=file.name, cause=_error_text(cause)
        ) from cause
    return find_image_folder(unpack_folder)


def _get_archive_module(file: Path) -> Any:
    """Return the module that reads an archive, by its first bytes, else its suffix."""
    archive_format = content_kinds.find_archive_format(archive_kinds.read_head(file))
    if archive_format == "zip" or archive_format in archive_kinds.TAR_FORMATS:
        return zip_file if archive_format == "zip" else tar_file
    return tar_file if file.name.lower().endswith(tar_file.TAR_SUFFIXES) else zip_file


def _guess_encoding(file: Path) -> str:
    """Return the encoding of an archive's names if it has to be guessed, else ""; also for a damaged archive."""
    try:
        with _get_archive_module(file).open_archive(file, ArchiveLimits()) as archive:
            archive.list_members()
            return str(archive.guessed_encoding)
    except (ArchiveError, OSError):  # its content lies unpacked in any case
        return ""


def measure_content(file: Path, limits: ArchiveLimits) -> int:
    """Return the size in bytes of an archive's content, as its headers state it: no more than that is unpacked.

    Args:
        file: the archive.
        limits: size limits.

    Returns:
        The size; 0 for an archive that `unpack_archive` refuses.
    """
    try:
        with _get_archive_module(file).open_archive(file, limits) as opened_archive:
            return sum(int(member.size_bytes) for member in opened_archive.list_members())
    except (ArchiveError, OSError, MemoryError):
        return 0


def read_unpack_problems(folder: Path) -> list[DatasetProblem]:
    """Return what was not unpacked, or under another name, if a folder was made by `unpack_archive`; else nothing.

    Args:
        folder: the folder of images, or a wrapping folder in it.

    Returns:
        Problems with paths relative to `folder`.
    """
    # A few levels: `find_dataset_root` may have entered wrapping folders.
    for candidate in (folder, *folder.parents[:3]):
        report = _read_report(candidate.parent / _REPORT_FILE_NAME)
        if report.get("folder") == candidate.name:
            relative_prefix = folder.relative_to(candidate).as_posix() + "/"
            problems = [
                DatasetProblem(problem["file"], problem["code"], problem["values"]) for problem in report["problems"]
            ]
            prefix = "" if relative_prefix == "./" else relative_prefix
            return [
                DatasetProblem(problem.file.removeprefix(prefix), problem.code, problem.values) for problem in problems
            ]
    return []


def _get_archives_dir() -> Path:
    """Return the folder of archives that were unpacked for good, each in a folder of its own."""
    return user_dirs.get_ftlab_home() / "archives"


def describe_path(path: Path) -> str:
    """Return a path for a message: what an archive was unpacked into is named by the archive, `pets.zip/train`."""
    if path.is_relative_to(_get_archives_dir()):
        for candidate in (path, *path.parents):
            report = _read_report(candidate.parent / _REPORT_FILE_NAME)
            if report.get("folder") == candidate.name:
                return "/".join((report.get(_FILE_KEY) or candidate.name, *path.relative_to(candidate).parts))
    return str(path)


@contextmanager
def name_archives() -> Iterator[None]:
    """Let a `DataError` of the block name archives in place of the folders that they were unpacked into.

    Yields:
        Nothing.

    Raises:
        DataError: that of the block, with other values.
    """
    try:
        yield
    except DataError as error:
        values = {key: describe_path(val) if isinstance(val, Path) else val for key, val in error.values.items()}
        raise DataError(error.code, **values) from error


def _strip_suffix(file: Path) -> str:
    """Return the name of an archive without its suffix."""
    suffix = next((candidate for candidate in ARCHIVE_SUFFIXES if file.name.lower().endswith(candidate)), "")
    return file.name[: len(file.name) - len(suffix)]


def _read_report(report_file: Path) -> dict[str, Any]:
    """Return the report that `unpack_archive` wrote; empty if there is none or it is damaged."""
    try:
        values = json.loads(file_io.read_regular_file(report_file))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# The page looks up the same archives again and again; size and time in the key notice a changed file.
@lru_cache(maxsize=64)
def _hash_content(file: Path, _size_bytes: int, _mtime_ns: int) -> str:
    """Return the first 128 bits of the SHA-256 of a file's content, in hex: enough to distinguish archives."""
    with file_io.open_regular_file(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _error_text(cause: BaseException) -> str:
    """Return the text of an error without its final period, to be put into a sentence."""
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).rstrip(".")
