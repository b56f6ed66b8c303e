"""The user's ftlab folder, for what belongs to no run: sample sets, unpacked archives, measured speeds, uploads.

A container may have a home folder that cannot be written. Then the caches of libraries are below ftlab's folder too, if
`FTLAB_HOME` names one, or on a Hugging Face Space.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

SPACE_STORAGE = Path("/data")
"""Where a Space has its persistent storage, if its owner has added one."""
_CACHE_VARIABLES = {
    "XDG_CACHE_HOME": "",  # weights of torchvision and of the Hugging Face Hub, fonts
    "MPLCONFIGDIR": "matplotlib",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
}
"""Environment variables by which libraries find their caches, and subfolders of ours for them."""
_DRAFT_TIMEOUT_SECONDS = 3600.0
"""Seconds without modification after which the process that was filling a draft counts as dead."""


def get_ftlab_home() -> Path:
    """Return the folder that `FTLAB_HOME` names, else one in the storage of a Space or in the user's home folder."""
    if folder := os.environ.get("FTLAB_HOME"):
        return Path(folder).absolute()
    return get_space_storage() / "ftlab" if os.environ.get("SPACE_ID") else Path.home() / ".ftlab"


def get_default_runs_dir() -> Path:
    """Return the folder of the runs where none is named: in the storage of a Space or the working directory."""
    return get_space_storage() / "runs" if os.environ.get("SPACE_ID") else Path("runs")


def get_space_storage() -> Path:
    """Return the folder in which a Space keeps everything: its persistent storage, else a temporary folder."""
    return SPACE_STORAGE if is_storage_persistent() else Path(tempfile.gettempdir()) / "ftlab-space"


def is_storage_persistent() -> bool:
    """Return whether a Space has a storage that outlives it, and may write there."""
    return SPACE_STORAGE.is_dir() and os.access(SPACE_STORAGE, os.W_OK | os.X_OK)


def redirect_library_caches(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let libraries keep their caches below ftlab's folder if the home folder cannot be written.

    Must come before the first import of such a library. Variables that are set are kept.

    Args:
        environment: environment variables, which are changed.
    """
    if not (environment.get("FTLAB_HOME") or environment.get("SPACE_ID")) or _is_home_writable():
        return
    for name, subfolder in _CACHE_VARIABLES.items():
        environment.setdefault(name, str(get_ftlab_home() / "cache" / subfolder))


def _is_home_writable() -> bool:
    """Return whether the user has a home folder and may write there."""
    try:
        return os.access(Path.home(), os.W_OK | os.X_OK)
    except RuntimeError:  # a user that the system does not know, as containers have them
        return False


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
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
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
