"""Files that are there whole or not at all, whatever happens while they are written. No torch."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PART_SUFFIX = ".part"
"""Ending of a file that is still being written."""
MOVE_RETRY_SECONDS = 2.0
"""Seconds that Windows gets until whoever reads the old file has closed it."""


@contextmanager
def atomic_write(path: Path, backup_path: Path | None = None) -> Iterator[Path]:
    """A name beside `path` to write to; at the end of the block what was written is on the disk, and in its place.

    Args:
        path: of the file. Until the end, and after an error, what stood there before still does.
        backup_path: where the old file moves, instead of being replaced. A process that is killed between the two moves
            leaves the old one there, and none at `path`.

    Raises:
        OSError: it cannot be written; nothing is left beside it.
    """
    part_path = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PART_SUFFIX}")
    try:
        yield part_path
        with open(part_path, "rb+") as file:
            os.fsync(file.fileno())
        if backup_path is not None and path.exists():
            move_path(path, backup_path)
        move_path(part_path, path)
        _sync_folder(path.parent)
    finally:
        part_path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """What was appended to a file is on the disk, not only on its way there; no file, nothing to do.

    Raises:
        OSError: it could not be written.
    """
    if path.exists():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def remove_stale_parts(folder: Path) -> None:
    """Remove what killed processes left half written below a folder."""
    for part_path in folder.rglob(f"*{PART_SUFFIX}"):
        writer_pid = part_path.name.removesuffix(PART_SUFFIX).rpartition(".")[2].partition("-")[0]
        if not (writer_pid.isdecimal() and psutil.pid_exists(int(writer_pid))):
            part_path.unlink(missing_ok=True)


def iter_files(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """Path and facts of each file below a folder, links not followed; what vanishes meanwhile is passed over."""
    pending_folders = [os.fspath(folder)]
    while pending_folders:
        folder_entries: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(pending_folders.pop()) as scanner:
            folder_entries = list(scanner)
        for entry in folder_entries:
            if entry.is_dir(follow_symlinks=False):
                pending_folders.append(entry.path)
                continue
            try:
                file_stat = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry.path, file_stat


def get_folder_size(folder: Path | str) -> int:
    """Bytes of the files below a folder; 0 where there is none."""
    return sum(file_stat.st_size for _, file_stat in iter_files(folder))


def get_free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the folder's disk."""
    return shutil.disk_usage(folder).free


def move_path(source: Path, target: Path) -> None:
    """Rename a file, or a folder to a name that is free, on one disk: at once and whole, nothing is copied.

    Raises:
        OSError: it cannot be; both are as they were. On Windows: somebody has one of the files open,
            and for longer than a moment.
    """
    deadline = time.monotonic() + MOVE_RETRY_SECONDS
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _sync_folder(folder: Path) -> None:
    """A rename, too, must reach the disk. Windows has no such call for folders, and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
