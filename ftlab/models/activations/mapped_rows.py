"""Tables in files that are mapped into memory: what does not fit stays on the disk, and ranks can share them."""

from __future__ import annotations

import glob
import os
import platform
import tempfile
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import torch
from torch import Tensor

from ftlab.core import file_io, user_dirs

_NUMPY_DTYPES: dict[torch.dtype, type] = {torch.float16: np.float16, torch.float32: np.float32}
_FILL_BYTES = 1 << 20
"""Bytes written at a time where the system cannot reserve them otherwise."""


def allocate_mapped(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Return an empty table, see `AllocateRows`.

    Its file lies beside the caches of the user and vanishes with the process, however that ends. A full
    disk, or a folder that cannot be written, raises an `OSError`.

    Args:
        shape: of the table.
        dtype: float16 or float32.

    Returns:
        The table, on the CPU.
    """
    if not prod(shape):
        return torch.empty(shape, dtype=dtype)
    folder = user_dirs.get_ftlab_home()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, prefix="activations-") as file:
        _reserve_bytes(file, prod(shape) * dtype.itemsize)
        # The mapping outlives the file object.
        return torch.from_numpy(np.memmap(file, _NUMPY_DTYPES[dtype], "r+", shape=shape))


def create_shared_file(shape: tuple[int, int, int], dtype: torch.dtype) -> Path:
    """Create the file of a table that several processes of this machine map, see `map_shared_file`.

    The creator deletes it as soon as all have mapped it: then it vanishes with them, however they end. The file of a
    creator that was killed before is deleted by the next one.

    Args:
        shape: of the table; not empty.
        dtype: float16 or float32.

    Returns:
        Path of the file.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    folder = user_dirs.get_ftlab_home()
    folder.mkdir(parents=True, exist_ok=True)
    # The folder may be that of several machines: each names its files, and their creators, for itself.
    prefix = f"rows-{platform.node()}-"
    for stale_path in folder.glob(f"{glob.escape(prefix)}*"):
        creator = stale_path.name.removeprefix(prefix).partition("-")[0]
        if creator.isdecimal() and not psutil.pid_exists(int(creator)):
            stale_path.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{prefix}{os.getpid()}-", delete=False) as file:
        path = Path(file.name)
        try:
            _reserve_bytes(file, prod(shape) * dtype.itemsize)
        except OSError:
            path.unlink()
            raise
    return path


def map_shared_file(path: Path, shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Return the table in a file: what a process writes into it, all of this machine that have mapped it see.

    Args:
        path: of the file.
        shape: of the table.
        dtype: float16 or float32.
    """
    return torch.from_numpy(np.memmap(path, _NUMPY_DTYPES[dtype], "r+", shape=shape))


def _reserve_bytes(file: IO[bytes], byte_count: int) -> None:
    """Reserve the bytes of a file on the disk: a write through the mapping to a full disk would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, byte_count)
        return
    for start in range(0, byte_count, _FILL_BYTES):
        file.write(bytes(min(_FILL_BYTES, byte_count - start)))
    file.flush()


def find_free_space() -> tuple[Path, int]:
    """Return the folder whose disk holds the tables, and the bytes that are free there; 0 if it cannot be used."""
    folder = user_dirs.get_ftlab_home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder, file_io.get_free_bytes(folder)
    except OSError:
        return folder, 0
