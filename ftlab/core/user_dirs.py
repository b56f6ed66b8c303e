"""Where ftlab keeps what belongs to no run: rendered sample sets, unpacked zips, measured speeds, uploads."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

_DRAFT_TIMEOUT_SECONDS = 3600.0
"""Seconds in which nobody touched a draft, after which its maker counts as dead."""


def get_ftlab_home() -> Path:
    """The folder `FTLAB_HOME` names, else `.ftlab` in the person's home folder."""
    return Path(os.environ.get("FTLAB_HOME") or Path.home() / ".ftlab").absolute()


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` at the end: at once and whole, or not at all.

    It stands beside its place. Of two processes that make the same folder the first one to end gives it, the other
    one's work is dropped. What a killed process left half made is cleared away by a later one; whoever works for
    longer than an hour touches the draft now and then.

    Raises:
        OSError: it cannot be made or put in its place.
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
    """Remove what killed processes left half made; one that is being filled right now is younger than that."""
    for draft in parent.glob(".*.part"):
        with suppress(OSError):  # its own process was faster
            if time.time() - draft.stat().st_mtime > _DRAFT_TIMEOUT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def _publish_draft(draft: Path, folder: Path) -> None:
    try:
        os.replace(draft, folder)
    except OSError:
        # A folder with something in it is never replaced: another process was first, and its content is the same.
        if not folder.is_dir():
            raise
