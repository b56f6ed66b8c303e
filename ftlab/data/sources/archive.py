"""Unpack the images of a zip or tar archive into a folder, completely or not at all, within size limits. No torch.

Archives are untrusted: every name is checked, links and special files are refused, and sizes in headers are not
believed but counted while writing. Characters and names that some file system cannot hold (`CON`, `a:b`, a newline, a
trailing dot) are replaced by `_`, so that an archive gives the same classes on every system.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import tar_file, zip_file
from ftlab.data.sources.archive_entries import (
    ArchiveError,
    ArchiveLimits,
    UnpackEntry,
    UnpackPlan,
    plan_unpacking,
)
from ftlab.data.sources.file_suffixes import get_suffix, is_image_header
from ftlab.data.sources.listing import DatasetProblem
from ftlab.data.sources.tar_file import TarArchive
from ftlab.data.sources.zip_file import ZipArchive

ARCHIVE_SUFFIXES = (*zip_file.ZIP_SUFFIXES, *tar_file.TAR_SUFFIXES)
"""Suffixes of archives that can be unpacked."""

UnpackProgress = Callable[[int, int], None]
"""Called with the number of files unpacked and the number of all files."""

_REPORT_FILE_NAME = ".ftlab-archive.json"
"""File next to the folder of images: the folder's name, and what was not unpacked."""


def is_archive(path: Path) -> bool:
    """Return whether a path has the suffix of an archive; its content is checked when it is unpacked."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def ensure_unpacked(file: Path, progress: UnpackProgress | None = None) -> Path:
    """Return the folder of an archive's images in `FTLAB_HOME`, unpacked if it is not there yet.

    The folder is named by the hash of the content, so that copies of an archive are unpacked once.

    Args:
        file: the archive.
        progress: called with the number of files unpacked and of all files.

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
    unpack_folder = user_dirs.get_ftlab_home() / "archives" / key
    return (
        find_image_folder(unpack_folder)
        if unpack_folder.is_dir()
        else unpack_archive(file, unpack_folder, progress=progress)
    )


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


def unpack_archive(
    file: Path,
    unpack_folder: Path,
    limits: ArchiveLimits | None = None,
    *,
    folder_name: str | None = None,
    skip_names: Collection[str] = (),
    progress: UnpackProgress | None = None,
) -> Path:
    """Unpack the images of an archive, and the manifests at its top, into a new folder, completely or not at all.

    Args:
        file: the archive.
        unpack_folder: the folder to make; it contains the folder of images and a report of what was left out.
        limits: size limits; None: the default ones.
        folder_name: name of the folder of images; None: that of the archive.
        skip_names: names of files and folders that are left out, wherever they are.
        progress: called with the number of files written and of all files.

    Returns:
        The folder of images.

    Raises:
        DataError: the archive is none, is damaged, exceeds the limits, or contains something that must not be
            unpacked. The message names the entry. Nothing is left behind.
    """
    limits = limits or ArchiveLimits()
    try:
        is_tar = file.name.lower().endswith(tar_file.TAR_SUFFIXES)
        with (
            (tar_file if is_tar else zip_file).open_archive(file, limits) as archive,
            user_dirs.atomic_folder(unpack_folder) as draft,
        ):
            unpack_plan = plan_unpacking(archive.list_members(), skip_names)
            check_declared_size(unpack_plan.files, file, limits, draft)
            image_folder = draft / unpack_plan.safe_folder_name(folder_name or _strip_suffix(file))
            image_folder.mkdir()
            _write_files(archive, unpack_plan, image_folder, file, limits, draft, progress)
            report = {**unpack_plan.to_report(), "folder": image_folder.name}
            (draft / _REPORT_FILE_NAME).write_text(json.dumps(report), encoding="utf-8")
    except ArchiveError as refusal:
        raise DataError(f"archive.{refusal.code}", file=file.name, **refusal.values) from refusal
    # MemoryError: a header may ask the decompressor (xz) or the reader of the directory for gigabytes.
    except (OSError, MemoryError) as cause:
        disk_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            "archive.space" if disk_full else "archive.unreadable", file=file.name, cause=_error_text(cause)
        ) from cause
    return find_image_folder(unpack_folder)


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


def check_declared_size(files: list[UnpackEntry], file: Path, limits: ArchiveLimits, draft: Path) -> None:
    """Refuse an archive that is too large by its own headers, before anything is written.

    Headers may be wrong: `_write_files` counts again.

    Args:
        files: entries to be written.
        file: the archive.
        limits: size limits.
        draft: folder on the disk that will be written to.

    Raises:
        ArchiveError: there are no images, or too many bytes for the limits or for the disk.
    """
    if not files:
        raise ArchiveError("no_pictures")
    declared_bytes = sum(entry.member.size_bytes for entry in files)
    if declared_bytes > limits.max_bytes:
        raise ArchiveError("large", limit=_format_bytes(limits.max_bytes))
    if declared_bytes + limits.min_free_bytes > shutil.disk_usage(draft).free:
        raise ArchiveError("space", cause=os.strerror(errno.ENOSPC))
    _check_ratio(declared_bytes, file, limits)


def _check_ratio(total_bytes: int, file: Path, limits: ArchiveLimits) -> None:
    """Refuse a decompression bomb: an archive whose content is out of proportion to its size.

    Args:
        total_bytes: size of the content in bytes, declared or counted.
        file: the archive.
        limits: its `max_ratio` is checked.

    Raises:
        ArchiveError: the ratio is exceeded.
    """
    if total_bytes > 100_000_000 and total_bytes > limits.max_ratio * file.stat().st_size:
        raise ArchiveError("bomb", ratio=limits.max_ratio)


def _write_files(
    archive: ZipArchive | TarArchive,
    unpack_plan: UnpackPlan,
    image_folder: Path,
    file: Path,
    limits: ArchiveLimits,
    draft: Path,
    progress: UnpackProgress | None,
) -> None:
    """Write the contents of the entries, counting bytes against the limits.

    Args:
        archive: the open archive.
        unpack_plan: entries to be written; those that turn out to be no images are added to what is left out.
        image_folder: folder that their paths are relative to.
        file: the archive file.
        limits: size limits.
        draft: temporary folder that contains `image_folder`.
        progress: called with the number of files written and of all files.

    Raises:
        ArchiveError: the content is larger than the limits allow, or not as large as a header says; or there are no
            images.
    """
    total_bytes = 0
    left_out_count = 0
    files = unpack_plan.files
    for file_count, (entry, chunks) in enumerate(archive.iter_contents(files), 1):
        first_chunk = _read_first_chunk(chunks) if entry.needs_image_content else b""
        if entry.needs_image_content and not is_image_header(first_chunk, get_suffix(entry.path)):
            unpack_plan.leave_out(entry.path)
            left_out_count += 1
            if progress:
                progress(file_count, len(files))
            continue
        target_file = image_folder.joinpath(*entry.path.split("/"))
        target_file.parent.mkdir(parents=True, exist_ok=True)
        entry_bytes = 0
        # Exclusive: where two names are one file after all (Unicode forms), the second must not overwrite the first.
        with target_file.open("xb") as output:
            for chunk in chain((first_chunk,), chunks):
                entry_bytes += len(chunk)
                total_bytes += len(chunk)
                if total_bytes > limits.max_bytes:
                    raise ArchiveError("large", limit=_format_bytes(limits.max_bytes))
                _check_ratio(total_bytes, file, limits)
                output.write(chunk)
        if entry_bytes != entry.member.size_bytes:
            raise ArchiveError("lies", entry=entry.member.name)
        if file_count % 256 == 0:
            os.utime(draft)  # `user_dirs.atomic_folder` takes drafts that are an hour old for abandoned
        if progress:
            progress(file_count, len(files))
    if left_out_count == len(files):
        raise ArchiveError("no_pictures")


def _read_first_chunk(chunks: Iterator[bytes]) -> bytes:
    """Return the first bytes of a file that may be no image; none where it is damaged."""
    try:
        return next(chunks, b"")
    except ArchiveError:
        return b""


def _strip_suffix(file: Path) -> str:
    """Return the name of an archive without its suffix."""
    suffix = next((candidate for candidate in ARCHIVE_SUFFIXES if file.name.lower().endswith(candidate)), "")
    return file.name[: len(file.name) - len(suffix)]


def _read_report(report_file: Path) -> dict[str, Any]:
    """Return the report that `unpack_archive` wrote; empty if there is none or it is damaged."""
    try:
        values = json.loads(report_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# The page looks up the same archives again and again; size and time in the key notice a changed file.
@lru_cache(maxsize=64)
def _hash_content(file: Path, _size_bytes: int, _mtime_ns: int) -> str:
    """Return the first 128 bits of the SHA-256 of a file's content, in hex: enough to distinguish archives."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _error_text(cause: BaseException) -> str:
    """Return the text of an error without its final period, to be put into a sentence."""
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).rstrip(".")


def _format_bytes(byte_count: int) -> str:
    """Return a size in GB or MB (powers of ten)."""
    return f"{byte_count / 1e9:,.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:,.0f} MB"
