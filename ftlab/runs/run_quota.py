"""Disk space that runs may take on a server for others: each one, and all of them together. No torch.

A server declares the limits when it starts, and its trainings inherit them. One setting (the weights of every epoch)
could otherwise fill the disk in minutes. On the command line nothing is limited but the disk.
"""

from __future__ import annotations

import os
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

RUN_QUOTA_BYTES, SPACE_RUN_QUOTA_BYTES = 4 << 30, 2 << 30
"""Bytes that one run may take, on a server for others and on a public Space."""
ALL_RUNS_QUOTA_BYTES, SPACE_ALL_RUNS_QUOTA_BYTES = 64 << 30, 16 << 30
"""Bytes that all runs may take together, with those in the trash."""

_RUN_QUOTA_VARIABLE, _ALL_RUNS_QUOTA_VARIABLE = "FTLAB_RUN_QUOTA_BYTES", "FTLAB_ALL_RUNS_QUOTA_BYTES"


def declare_run_quota(run_bytes: int | None, all_runs_bytes: int | None) -> None:
    """Limit what runs may take from now on, in the processes that this one starts.

    Args:
        run_bytes: of each run; None: no limit.
        all_runs_bytes: of all runs; None: no limit.
    """
    for variable, limit in ((_RUN_QUOTA_VARIABLE, run_bytes), (_ALL_RUNS_QUOTA_VARIABLE, all_runs_bytes)):
        os.environ.pop(variable, None)
        if limit is not None:
            os.environ[variable] = str(limit)


def check_all_runs(root: Path) -> None:
    """Check that another run may start.

    Args:
        root: folder of all runs.

    Raises:
        RunError: the runs take all the space that is meant for them.
    """
    limit = _read_limit(_ALL_RUNS_QUOTA_VARIABLE)
    if limit is not None and file_io.get_folder_size(root) >= limit:
        raise RunError("run.quota_all", limit=_format_megabytes(limit))


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
    limit = _read_limit(_ALL_RUNS_QUOTA_VARIABLE)
    if limit is not None and file_io.get_folder_size(run.path.parent) + needed_bytes > limit:
        raise RunError("run.quota_all", limit=_format_megabytes(limit))


def _read_limit(variable: str) -> int | None:
    """Return a declared limit in bytes; None without one."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else None


def _format_megabytes(byte_count: int) -> str:
    """Return a size in MB (powers of ten)."""
    return f"{byte_count / 1e6:,.0f}"
