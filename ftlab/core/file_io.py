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

PART = ".part"
"""Ending of a file that is still being written."""
_PATIENCE = 2.0
"""Seconds that Windows gets until whoever reads the old file has closed it."""


@contextmanager
def fresh(path: Path, before: Path | None = None) -> Iterator[Path]:
    """A name beside `path` to write to; at the end of the block what was written is on the disk, and in its place.

    Args:
        path: of the file. Until the end, and after an error, what stood there before still does.
        before: where the old file moves, instead of being replaced. A process that is killed between the two moves
            leaves the old one there, and none at `path`.

    Raises:
        OSError: it cannot be written; nothing is left beside it.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PART}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        if before is not None and path.exists():
            move(path, before)
        move(part, path)
        _settle(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """What was appended to a file is on the disk, not only on its way there; no file, nothing to do.

    Raises:
        OSError: it could not be written.
    """
    if path.exists():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written below a folder."""
    for part in folder.rglob(f"*{PART}"):
        writer = part.name.removesuffix(PART).rpartition(".")[2].partition("-")[0]
        if not (writer.isdecimal() and psutil.pid_exists(int(writer))):
            part.unlink(missing_ok=True)


def files(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """Path and facts of each file below a folder, links not followed; what vanishes meanwhile is passed over."""
    waiting = [os.fspath(folder)]
    while waiting:
        here: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            here = list(entries)
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry.path, facts


def size(folder: Path | str) -> int:
    """Bytes of the files below a folder; 0 where there is none."""
    return sum(facts.st_size for _, facts in files(folder))


def free(folder: Path) -> int:
    """Bytes that can still be written to the folder's disk."""
    return shutil.disk_usage(folder).free


def move(old: Path, new: Path) -> None:
    """Rename a file, or a folder to a name that is free, on one disk: at once and whole, nothing is copied.

    Raises:
        OSError: it cannot be; both are as they were. On Windows: somebody has one of the files open,
            and for longer than a moment.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(old, new)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _settle(folder: Path) -> None:
    """A rename, too, must reach the disk. Windows has no such call for folders, and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
