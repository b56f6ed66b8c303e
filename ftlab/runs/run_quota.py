"""Disk space that runs may take on a server for others: each one, those of a visitor, and all together. No torch.

A server declares the limits when it starts, and its trainings inherit them. One setting (the weights of every epoch)
could otherwise fill the disk in minutes. On the command line nothing is limited but the disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run

RUN_QUOTA_BYTES, SPACE_RUN_QUOTA_BYTES = 4 << 30, 2 << 30
"""Bytes that one run may take, on a server for others and on a public Space."""
ALL_RUNS_QUOTA_BYTES, SPACE_ALL_RUNS_QUOTA_BYTES = 64 << 30, 16 << 30
"""Bytes that all runs may take together, with those in the trash."""
VISITOR_RUNS_QUOTA_BYTES, SPACE_VISITOR_RUNS_QUOTA_BYTES = 16 << 30, 4 << 30
"""Bytes that the runs of one visitor may take together, with those in the trash."""
OWNER_FILE = "owner"
"""File of a run that says whose share it counts towards."""

_RUN_QUOTA_VARIABLE, _ALL_RUNS_QUOTA_VARIABLE = "FTLAB_RUN_QUOTA_BYTES", "FTLAB_ALL_RUNS_QUOTA_BYTES"
_VISITOR_QUOTA_VARIABLE = "FTLAB_VISITOR_RUNS_QUOTA_BYTES"


def declare_run_quota(run_bytes: int | None, all_runs_bytes: int | None, visitor_runs_bytes: int | None = None) -> None:
    """Limit what runs may take from now on, in the processes that this one starts.

    Args:
        run_bytes: of each run; None: no limit.
        all_runs_bytes: of all runs; None: no limit.
        visitor_runs_bytes: of all runs of one visitor; None: no limit.
    """
    for variable, limit in (
        (_RUN_QUOTA_VARIABLE, run_bytes),
        (_ALL_RUNS_QUOTA_VARIABLE, all_runs_bytes),
        (_VISITOR_QUOTA_VARIABLE, visitor_runs_bytes),
    ):
        os.environ.pop(variable, None)
        if limit is not None:
            os.environ[variable] = str(limit)


def make_owner(visitor: str) -> str:
    """Return what a run keeps of the visitor who started it: a digest of their name; empty for nobody."""
    return hashlib.sha256(visitor.encode()).hexdigest()[:32] if visitor else ""


def write_owner(run: Run, owner: str) -> None:
    """Note whose share a run counts towards; nothing for nobody. An `OSError` propagates.

    Args:
        run: the run.
        owner: as `make_owner` returns it.
    """
    if owner:
        (run.path / OWNER_FILE).write_text(owner, encoding="ascii")


def hand_over_runs(root: Path, owner: str, new_owner: str) -> None:
    """Give the runs of somebody to somebody else, deleted ones too. An `OSError` propagates.

    Args:
        root: folder of all runs.
        owner: whose runs they are, as `make_owner` returns it; nothing is done for nobody.
        new_owner: whose they will be.
    """
    for run in _iter_runs(root) if owner else ():
        if read_owner(run) == owner:
            write_owner(run, new_owner)


def check_start(root: Path, owner: str = "") -> None:
    """Check that another run may start, or go on.

    Args:
        root: folder of all runs.
        owner: whose run it is, as `make_owner` returns it.

    Raises:
        RunError: all runs, or those of the owner, take the space that is meant for them.
    """  # noqa: DOC502 (`_check_shared` raises it)
    # A single byte: a limit that is reached leaves no room for it.
    _check_shared(root, owner, 1)


def check_run(run: Run, needed_bytes: int) -> None:
    """Check that a run may write so much more.

    Args:
        run: the run.
        needed_bytes: what will be written.

    Raises:
        RunError: the run, or all runs together, would exceed their limit.
    """
    limit = _read_limit(_RUN_QUOTA_VARIABLE)
    if limit is not None and file_io.get_folder_size(run.path) + needed_bytes > limit:
        raise RunError("run.quota", needed=_format_megabytes(needed_bytes), limit=_format_megabytes(limit))
    _check_shared(run.path.parent, read_owner(run), needed_bytes)


def _check_shared(root: Path, owner: str, needed_bytes: int) -> None:
    """Check that all runs, and those of an owner, leave room.

    Args:
        root: folder of all runs.
        owner: whose share it counts towards; empty: nobody's.
        needed_bytes: what will be written.

    Raises:
        RunError: one of both limits would be exceeded.
    """
    limit = _read_limit(_ALL_RUNS_QUOTA_VARIABLE)
    if limit is not None and file_io.get_folder_size(root) + needed_bytes > limit:
        raise RunError("run.quota_all", limit=_format_megabytes(limit))
    limit = _read_limit(_VISITOR_QUOTA_VARIABLE)
    if limit is not None and owner and _measure_owned_bytes(root, owner) + needed_bytes > limit:
        raise RunError("run.quota_visitor", limit=_format_megabytes(limit))


def read_owner(run: Run) -> str:
    """Return whose share a run counts towards; empty for nobody's."""
    with suppress(OSError, ValueError):
        file_io.check_regular_file(run.path / OWNER_FILE)
        return (run.path / OWNER_FILE).read_text(encoding="ascii").strip()
    return ""


def _measure_owned_bytes(root: Path, owner: str) -> int:
    """Return the bytes of the runs of one owner, with those in the trash."""
    return sum(file_io.get_folder_size(run.path) for run in _iter_runs(root) if read_owner(run) == owner)


def _iter_runs(root: Path) -> Iterator[Run]:
    """Iterate over the runs and the deleted ones.

    Yields:
        A run.
    """
    for folder in (root, root / run_store.TRASH_FOLDER):
        with suppress(OSError):  # nothing was deleted yet
            yield from (Run(path) for path in folder.iterdir() if path.is_dir() and path.name != run_store.TRASH_FOLDER)


def _read_limit(variable: str) -> int | None:
    """Return a declared limit in bytes; None without one."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else None


def _format_megabytes(byte_count: int) -> str:
    """Return a size in MB (powers of ten)."""
    return f"{byte_count / 1e6:,.0f}"
