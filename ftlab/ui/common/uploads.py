"""Zips that visitors send: unpacked, found again by the one who sent them, removed when nobody uses them any more.

Each lies in a folder of its own below `FTLAB_HOME/visitors`. Its name has 128 random bits and is told to the page that
sent it alone: who does not know it cannot name it, and there is no list. Knows no gradio.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ftlab.core import file_io, user_dirs
from ftlab.core.errors import DataError, RunError
from ftlab.data.sources import archive
from ftlab.data.sources.archive import Progress
from ftlab.data.sources.archive_entries import Limits
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.ui.common.access import QUOTA, Profile, visitors

KEEP, SPACE_KEEP = 7 * 86400.0, 6 * 3600.0
"""Seconds for which an upload stays that nobody uses; on a public Space."""
LIMITS = Limits(entries=50_000, bytes=2 << 30)
SPACE_LIMITS = Limits(entries=20_000, bytes=512 << 20)
"""What a zip may hold; on a public Space."""

_NAME = re.compile(r"[0-9a-f]{32}")
_TAKING = threading.Lock()


def kept(profile: Profile) -> float:
    """Seconds for which an upload stays that nobody uses."""
    return SPACE_KEEP if profile.space else KEEP


def take(
    profile: Profile, file: Path, before: object = None, *, name: str | None = None, progress: Progress | None = None
) -> str:
    """Unpack a zip that was sent, and make room for it.

    Args:
        profile: of this server.
        file: the zip; it stays where it is.
        before: name of what the same page sent earlier, which is removed unless a training uses it.
        name: what the visitor calls the zip.
        progress: called with files written and files in all.

    Returns:
        The name by which the visitor finds it again.

    Raises:
        DataError: there is no room, or the zip cannot be unpacked.
    """
    limits = SPACE_LIMITS if profile.space else LIMITS
    with _TAKING:
        clear(profile)
        room = QUOTA - file_io.size(visitors())
        token = secrets.token_hex(16)
        try:
            cut = Limits(limits.entries, max(0, min(limits.bytes, room)), limits.ratio, limits.reserve)
            archive.unpack(file, visitors() / token, cut, name=name, progress=progress)
        except DataError as refusal:
            if refusal.code == "archive.large" and room < limits.bytes:
                raise DataError("page.full") from refusal
            raise
    if isinstance(before, str) and _NAME.fullmatch(before) and visitors() / before not in _in_use(profile):
        shutil.rmtree(visitors() / before, ignore_errors=True)
    return token


def find(token: str) -> Path:
    """The folder of pictures of an upload, which counts as used from now on.

    Raises:
        DataError: there is none of that name, or it was removed.
    """
    if not token:
        raise DataError("page.no_upload")
    home = visitors() / token
    try:
        if not _NAME.fullmatch(token) or not home.is_dir():
            raise DataError("page.upload_gone")
        os.utime(home)
        return archive.content(home)
    except OSError as cause:
        raise DataError("page.upload_gone") from cause


def clear(profile: Profile) -> None:
    """Remove uploads that nobody used for as long as they are kept, and what a killed server left half unpacked."""
    if not visitors().is_dir():
        return
    user_dirs.clear_drafts(visitors())
    used = _in_use(profile)
    for home in visitors().iterdir():
        try:
            idle = time.time() - home.stat().st_mtime
        except OSError:  # gone in the meantime
            continue
        if _NAME.fullmatch(home.name) and idle > kept(profile) and home not in used:
            shutil.rmtree(home, ignore_errors=True)


def _in_use(profile: Profile) -> set[Path]:
    """Uploads that a training reads now."""
    return {visitors() / part for run in run_store.busy(profile.runs) for part in _parts(run)}


def _parts(run: Run) -> Iterator[str]:
    try:
        yield from Path(run.config().data).parts[-2:-1]
    except RunError:
        return
