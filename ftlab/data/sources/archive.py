"""A zip or a tar file → a folder of its pictures, whole or not at all, within limits counted while writing. No torch.

A stranger's archive is data, never a set of orders: every name is checked, links and the like are refused, nothing is
taken from a header's word. What a file system here or elsewhere would not hold (`CON`, `a:b`, a newline, a trailing
dot) is written with `_` in its place, so that one archive gives the same classes on every system.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import tar_file, zip_file
from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, UnpackEntry, plan_unpacking
from ftlab.data.sources.listing import DatasetProblem
from ftlab.data.sources.tar_file import TarArchive
from ftlab.data.sources.zip_file import ZipArchive

ARCHIVE_SUFFIXES = (*zip_file.ZIP_SUFFIXES, *tar_file.TAR_SUFFIXES)
"""Endings of what can be unpacked."""

UnpackProgress = Callable[[int, int], None]
"""Told how many files are unpacked, and how many there are."""

_REPORT_FILE_NAME = ".ftlab-archive.json"


def is_archive(path: Path) -> bool:
    """Whether a path names an archive, by its ending: what it is, its content decides when it is unpacked."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def ensure_unpacked(file: Path, progress: UnpackProgress | None = None) -> Path:
    """The folder of a zip's pictures in `FTLAB_HOME`, unpacked when it is not there; the same content is there once.

    Raises:
        DataError: as `unpack_archive`.
    """
    try:
        file_stat = file.stat()
        key = _hash_content(file.resolve(), file_stat.st_size, file_stat.st_mtime_ns)
    except OSError as cause:
        raise DataError("archive.unreadable", file=file, cause=cause.strerror or cause) from cause
    unpack_folder = user_dirs.get_ftlab_home() / "archives" / key
    return (
        find_image_folder(unpack_folder)
        if unpack_folder.is_dir()
        else unpack_archive(file, unpack_folder, progress=progress)
    )


def find_image_folder(unpack_folder: Path) -> Path:
    """Where the pictures are in a folder that `unpack_archive` made.

    Raises:
        DataError: it is none, or was damaged.
    """
    name = _read_report(unpack_folder / _REPORT_FILE_NAME).get("folder")
    if not isinstance(name, str):
        raise DataError("data.missing", folder=unpack_folder)
    return unpack_folder / name


def unpack_archive(
    file: Path,
    unpack_folder: Path,
    limits: ArchiveLimits | None = None,
    *,
    folder_name: str | None = None,
    skip_names: Collection[str] = (),
    progress: UnpackProgress | None = None,
) -> Path:
    """Unpack the pictures of a zip, and the lists at its top, into a new folder, which appears whole or not at all.

    Args:
        file: the zip.
        unpack_folder: the folder to make; it holds the folder of pictures, and a report of what was left out.
        limits: what is too much.
        folder_name: of the folder of pictures; None: the zip's.
        skip_names: names of files and folders that are left out, wherever they lie.
        progress: called with files written and files in all.

    Returns:
        The folder of pictures.

    Raises:
        DataError: the zip is none, is damaged, goes beyond the limits, or holds something that must not be unpacked.
            The line names the entry. Nothing is left behind.
    """
    limits = limits or ArchiveLimits()
    try:
        is_tar = file.name.lower().endswith(tar_file.TAR_SUFFIXES)
        with (
            (tar_file if is_tar else zip_file).opened(file, limits) as archive,
            user_dirs.atomic_folder(unpack_folder) as draft,
        ):
            unpack_plan = plan_unpacking(archive.members(), skip_names)
            report = {
                **unpack_plan.to_report(),
                "folder": unpack_plan.safe_folder_name(folder_name or _strip_suffix(file)),
            }
            check_declared_size(unpack_plan.files, file, limits, draft)
            image_folder = draft / report["folder"]
            image_folder.mkdir()
            _write_files(archive, unpack_plan.files, image_folder, file, limits, draft, progress)
            (draft / _REPORT_FILE_NAME).write_text(json.dumps(report), encoding="utf-8")
    except ArchiveError as refusal:
        raise DataError(f"archive.{refusal.code}", file=file.name, **refusal.values) from refusal
    except (OSError, MemoryError) as cause:
        disk_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            "archive.space" if disk_full else "archive.unreadable", file=file.name, cause=_error_text(cause)
        ) from cause
    return find_image_folder(unpack_folder)


def read_unpack_problems(folder: Path) -> list[DatasetProblem]:
    """What of a zip was not unpacked, or under another name, when `folder` lies in one that `unpack_archive` made; else none.

    Args:
        folder: the folder of pictures, or the one in it that wraps them.
    """
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


def check_declared_size(files: list[UnpackEntry], file: Path, limits: ArchiveLimits, draft: Path) -> None:
    """Refuse at once what the zip itself says is too much. It may lie: `_write_files` counts."""
    if not files:
        raise ArchiveError("no_pictures")
    declared_bytes = sum(entry.member.size_bytes for entry in files)
    if declared_bytes > limits.max_bytes:
        raise ArchiveError("large", limit=_format_bytes(limits.max_bytes))
    if declared_bytes + limits.min_free_bytes > shutil.disk_usage(draft).free:
        raise ArchiveError("space", cause=os.strerror(errno.ENOSPC))
    _check_ratio(declared_bytes, file, limits)


def _check_ratio(total_bytes: int, file: Path, limits: ArchiveLimits) -> None:
    if total_bytes > 100_000_000 and total_bytes > limits.max_ratio * file.stat().st_size:
        raise ArchiveError("bomb", ratio=limits.max_ratio)


def _write_files(
    archive: ZipArchive | TarArchive,
    files: list[UnpackEntry],
    image_folder: Path,
    file: Path,
    limits: ArchiveLimits,
    draft: Path,
    progress: UnpackProgress | None,
) -> None:
    total_bytes = 0
    file_count = 0
    for file_count, (entry, chunks) in enumerate(archive.iter_contents(files), 1):
        target_file = image_folder.joinpath(*entry.path.split("/"))
        target_file.parent.mkdir(parents=True, exist_ok=True)
        entry_bytes = 0
        with open(target_file, "xb") as output:
            for chunk in chunks:
                entry_bytes += len(chunk)
                total_bytes += len(chunk)
                if total_bytes > limits.max_bytes:
                    raise ArchiveError("large", limit=_format_bytes(limits.max_bytes))
                _check_ratio(total_bytes, file, limits)
                output.write(chunk)
        if entry_bytes != entry.member.size_bytes:
            raise ArchiveError("lies", entry=entry.member.name)
        if file_count % 256 == 0:
            os.utime(draft)  # still at work
        if progress:
            progress(file_count, len(files))


def _strip_suffix(file: Path) -> str:
    """The name of an archive without its ending."""
    suffix = next((candidate for candidate in ARCHIVE_SUFFIXES if file.name.lower().endswith(candidate)), "")
    return file.name[: len(file.name) - len(suffix)]


def _read_report(report_file: Path) -> dict[str, Any]:
    try:
        values = json.loads(report_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


@lru_cache(maxsize=64)
def _hash_content(file: Path, _size_bytes: int, _mtime_ns: int) -> str:
    """SHA-256 of the content, in hex, 128 bits of it: enough to tell zips apart."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _error_text(cause: BaseException) -> str:
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).rstrip(".")


def _format_bytes(byte_count: int) -> str:
    return f"{byte_count / 1e9:,.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:,.0f} MB"
