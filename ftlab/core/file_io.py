"""Atomic file operations: a file is complete or absent, whatever happens while it is written. No torch."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

import psutil

PART_SUFFIX = ".part"
"""Suffix of a file that is still being written."""
_SAFETENSORS_LEFTOVER = re.compile(r"\.tmp[A-Za-z0-9]{6}")
"""Names of the hidden files that safetensors 0.8 writes before it renames them."""
_PROBE_BYTES = 4096
"""Bytes that are written to see whether a folder can be written: a full disk may take an empty file."""
MOVE_RETRY_SECONDS = 2.0
"""Seconds during which a rename is retried on Windows, until the reader of the old file has closed it."""


@contextmanager
def atomic_write(path: Path, backup_path: Path | None = None) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, then flush it to the disk and rename it to `path`.

    Args:
        path: the file. Until the block ends, and after an error, its previous content stays.
        backup_path: where the previous file is moved instead of being replaced. A process that is killed between the
            two renames leaves the previous file there, and none at `path`.

    Yields:
        Path of the temporary file in the same folder. If it cannot be written or renamed, the `OSError` propagates
        and the temporary file is removed.
    """
    # The same folder, because a rename is atomic within one file system only. Process and thread id: two writers of the
    # same file never share a temporary file, and `remove_stale_parts` recognizes those of dead processes.
    part_path = _make_part_path(path, path.name)
    try:
        yield part_path
        # Flush before the rename: after a power failure the new name could otherwise have no content.
        with part_path.open("rb+") as file:
            os.fsync(file.fileno())
        if backup_path is not None and path.exists():
            move_path(path, backup_path)
        move_path(part_path, path)
        _sync_folder(path.parent)
    finally:
        part_path.unlink(missing_ok=True)


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file atomically that only its owner may read; an `OSError` says that it cannot be written.

    Args:
        path: the file, in a folder that is created if it does not exist.
        content: its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part_path:
        # Never readable for others, not even for a moment.
        descriptor = os.open(part_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


@contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside a file, for a library that writes under temporary names of its own.

    Whatever such a library leaves when its process is killed stays in this folder, which `remove_stale_parts` removes.

    Args:
        path: the file that will be made of what is written into the folder.

    Yields:
        The folder. It is removed at the end with everything in it.
    """
    folder = _make_part_path(path, f"{path.name}.folder")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_part_path(path: Path, name: str) -> Path:
    """Return a temporary path in the folder of a file: `<name>.<pid>-<thread>.part`."""
    return path.with_name(f"{name}.{os.getpid()}-{threading.get_ident()}{PART_SUFFIX}")


def open_regular_file(path: Path | str) -> BufferedReader:
    """Open a regular file for reading bytes; a pipe, a socket or a device is refused and never waited for.

    An `OSError` says that the file cannot be opened, or is no regular file; a path with a NUL byte is a `ValueError`.

    Args:
        path: of the file; symlinks are followed.

    Returns:
        The stream.
    """
    # The built-in function, as `path` may be text.
    return open(path, "rb", opener=open_regular_descriptor)


def open_regular_descriptor(path: Path | str, _flags: int = 0) -> int:
    """Return a descriptor for reading a regular file: the `opener` of a class that opens files by itself.

    Args:
        path: of the file.

    Returns:
        The descriptor.

    Raises:
        OSError: as from `open_regular_file`.
    """
    # Asked first, as opening alone may have an effect on a device. Asked again of what was opened, as the name may
    # lead elsewhere by then; O_NONBLOCK: a pipe without a writer opens at once.
    _check_is_regular(os.stat(path), path)  # noqa: PTH116 - `path` may be text
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags)
    try:
        _check_is_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular_file(path: Path | str) -> bytes:
    """Return the content of a regular file; see `open_regular_file`."""
    with open_regular_file(path) as stream:
        return stream.read()


def check_regular_file(path: Path | str) -> None:
    """Check that what a library opens by its path is a regular file, or does not exist; else there is an `OSError`."""
    if os.path.exists(path):  # noqa: PTH110 - `Path.exists` raises if a folder above may not be searched
        _check_is_regular(os.stat(path), path)  # noqa: PTH116


def _check_is_regular(file_stat: os.stat_result, path: Path | str) -> None:
    """Check that a stat result is that of a regular file.

    Args:
        file_stat: the stat result.
        path: for the error.

    Raises:
        IsADirectoryError: it is that of a folder.
        OSError: it is that of a pipe, a socket or a device.
    """
    if stat.S_ISDIR(file_stat.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(file_stat.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def sync_file(path: Path) -> None:
    """Flush what was appended to a file to the disk (fsync); do nothing if there is no file."""
    if path.exists():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def remove_stale_parts(folder: Path) -> None:
    """Remove what killed processes have left half-written below a folder that no other process writes weights to."""
    for part_path in list(folder.rglob(f"*{PART_SUFFIX}")):
        _remove_stale_part(part_path)
    # Left by versions that did not give safetensors a folder of its own.
    for hidden_path in list(folder.rglob(".tmp*")):
        if _SAFETENSORS_LEFTOVER.fullmatch(hidden_path.name) and hidden_path.is_file():
            hidden_path.unlink(missing_ok=True)


def remove_stale_parts_of(path: Path) -> None:
    """Remove what killed processes have left of one file or folder beside it; of other names nothing is touched.

    Args:
        path: what they were writing.
    """
    pattern = re.compile(rf"{re.escape(path.name)}(\.folder)?\.\d+-\d+{re.escape(PART_SUFFIX)}")
    if not path.parent.is_dir():
        return
    for part_path in list(path.parent.iterdir()):
        if pattern.fullmatch(part_path.name):
            _remove_stale_part(part_path)


def _remove_stale_part(part_path: Path) -> None:
    """Remove a temporary file or folder unless the process that writes it is alive."""
    # `_make_part_path` names them `<name>.<pid>-<thread>.part`; a name without a pid belongs to nobody.
    writer_pid = part_path.name.removesuffix(PART_SUFFIX).rpartition(".")[2].partition("-")[0]
    if writer_pid.isdecimal() and psutil.pid_exists(int(writer_pid)):
        return
    if part_path.is_dir() and not part_path.is_symlink():
        shutil.rmtree(part_path, ignore_errors=True)
    else:
        part_path.unlink(missing_ok=True)


def iter_files(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and stat result of each file below a folder; symlinks are not followed, vanished files are skipped."""
    # os.scandir instead of Path.rglob: its entries bring type and stat result with fewer system calls.
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
    """Return the total size in bytes of the files below a folder; 0 if there is no folder."""
    return sum(file_stat.st_size for _, file_stat in iter_files(folder))


def get_free_bytes(folder: Path) -> int:
    """Return the bytes that can still be written to the folder's disk."""
    return shutil.disk_usage(folder).free


def check_folder_writable(folder: Path) -> None:
    """Create a folder if it is missing, and check that a file can be written there; an `OSError` says why it cannot.

    Args:
        folder: path of the folder.

    Raises:
        NotADirectoryError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    # Only writing tells: root may write anywhere, but not on a disk that is mounted for reading.
    with tempfile.NamedTemporaryFile(prefix=".ftlab-", dir=folder) as file:
        file.write(bytes(_PROBE_BYTES))
        file.flush()


def move_path(source: Path, target: Path) -> None:
    """Rename a file, or a folder to an unused name, on the same disk: atomic, nothing is copied.

    Args:
        source: file or folder to rename.
        target: new path.

    Raises:
        PermissionError: on Windows, a process has one of the files open for longer than `MOVE_RETRY_SECONDS`. Any other
            `OSError` of the system propagates too; both paths are then unchanged.
    """
    deadline = time.monotonic() + MOVE_RETRY_SECONDS
    while True:
        try:
            os.replace(source, target)  # noqa: PTH105 - the tests replace os.replace to simulate a full disk
            return
        except PermissionError:
            # Elsewhere an open file can be replaced, and the error is one of access rights, which waiting cannot fix.
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _sync_folder(folder: Path) -> None:
    """Flush a rename to the disk by fsync on its folder; Windows has no such call for folders and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
