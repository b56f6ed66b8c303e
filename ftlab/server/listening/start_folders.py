"""Whether a server can write where it has to, looked at once at its start: later, each event would fail by it."""

from __future__ import annotations

import errno
from pathlib import Path

from ftlab.core import file_io, messages
from ftlab.core.errors import FtlabError
from ftlab.runs import run_store
from ftlab.server.paths import get_uploads_dir

_FULL_DISK_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of a disk on which something can be deleted: the page must start, as it deletes runs."""


def check_upload_folder() -> str:
    """Check that pictures that are sent to the page can be kept.

    Returns:
        A warning for whoever starts the server, in one line, where the disk is full; empty if all is well.

    Raises:
        FtlabError: the folder can never be written.
    """
    folder = get_uploads_dir()
    try:
        file_io.check_folder_writable(folder)
    except OSError as cause:
        values = {"folder": folder, "cause": cause.strerror or cause}
        if cause.errno in _FULL_DISK_ERRORS:
            return messages.get_text("server.uploads_full", **values)
        raise FtlabError("page.upload_folder", **values) from cause
    return ""


def check_runs_folder(runs_dir: Path) -> str:
    """Check that trainings can be written. Where there are runs already, they can be used without.

    Args:
        runs_dir: folder of the runs.

    Returns:
        A warning for whoever starts the server, in one line, where no training can start; empty if all is well.

    Raises:
        FtlabError: the folder cannot be written, and there is nothing in it.
    """
    try:
        file_io.check_folder_writable(runs_dir)
    except OSError as cause:
        values = {"folder": runs_dir, "cause": cause.strerror or cause}
        if cause.errno in _FULL_DISK_ERRORS or (runs_dir.is_dir() and run_store.list_run_names(runs_dir)):
            return messages.get_text("server.runs_unwritable", **values)
        raise FtlabError("page.runs_folder", **values) from cause
    return ""
