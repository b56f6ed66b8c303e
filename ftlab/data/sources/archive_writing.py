"""Write the contents of an archive's entries, and stop one that is larger than it may be. No torch."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from ftlab.data.sources.archive_entries import ArchiveError, ArchiveLimits, UnpackEntry, UnpackPlan
from ftlab.data.sources.file_suffixes import get_suffix, is_image_header
from ftlab.data.sources.tar_file import TarArchive
from ftlab.data.sources.zip_file import ZipArchive

UnpackProgress = Callable[[int, int], None]
"""Called with the number of files unpacked and the number of all files."""


def check_declared_size(files: list[UnpackEntry], file: Path, limits: ArchiveLimits, draft: Path) -> None:
    """Refuse an archive that is too large by its own headers, before anything is written.

    Headers may be wrong: `write_files` counts again.

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


def write_files(
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


def _format_bytes(byte_count: int) -> str:
    """Return a size in GB or MB (powers of ten)."""
    return f"{byte_count / 1e9:,.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:,.0f} MB"
