"""The user's ftlab folder, for what belongs to no run: sample sets, unpacked archives, measured speeds, uploads."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

_DRAFT_TIMEOUT_SECONDS = 3600.0
"""Seconds without modification after which the process that was filling a draft counts as dead."""


def get_ftlab_home() -> Path:
    """Return the folder that `FTLAB_HOME` names, else `.ftlab` in the user's home folder."""
    return Path(os.environ.get("FTLAB_HOME") or Path.home() / ".ftlab").absolute()


def expand_home(path: Path | str) -> Path:
    """Return a path with a leading `~` or `~user` expanded; as it is, if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Create a folder atomically: yield an empty draft folder to fill, and rename it to `folder` at the end.

    The draft is a sibling of `folder`. If two processes create the same folder, the first one to finish publishes its
    draft, and that of the other one is dropped. Drafts of killed processes are removed by a later call; a process that
    works for longer than an hour must touch its draft now and then.

    Args:
        folder: to create; complete or absent at any time.

    Yields:
        Path of the draft. If it cannot be created or renamed, the `OSError` propagates.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_drafts(folder.parent)
    draft = Path(mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
    try:
        yield draft
        _publish_draft(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_stale_drafts(parent: Path) -> None:
    """Remove the drafts of killed processes; drafts modified within the last hour are taken to be in use."""
    for draft in parent.glob(".*.part"):
        with suppress(OSError):  # renamed or removed by its own process in the meantime
            if time.time() - draft.stat().st_mtime > _DRAFT_TIMEOUT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def _publish_draft(draft: Path, folder: Path) -> None:
    """Rename a draft to its folder, unless another process has published the folder already.

    Raises:
        OSError: the rename failed and there is no such folder.
    """
    try:
        os.replace(draft, folder)  # noqa: PTH105 - the tests replace os.replace to simulate a full disk
    except OSError:
        # A folder that is not empty is never replaced: another process was first, and its content is the same.
        if not folder.is_dir():
            raise
