"""Trash: deleted runs are kept in `.bin/` below the runs folder until a person empties it. No torch.

Deleting a run is one rename of its folder: instant and atomic, nothing is copied, and it works on a full disk. Only
`empty_trash` frees space.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.run_store import TRASH_FOLDER

_NUMBERED_NAME_PATTERN = re.compile(r"(.*?)(\.\d+)?")
"""Name of a run, and the number appended where the trash already holds a run of that name."""


def get_trash_folder(root: Path | str) -> Path:
    """Return the trash folder of a runs folder; it is created when the first run is deleted."""
    return Path(root).absolute() / TRASH_FOLDER


def list_trashed_names(root: Path | str) -> list[str]:
    """Return the names of the runs in the trash, the newest first."""
    try:
        # os.scandir, not Path.iterdir: it tells folders from files without a system call per entry.
        with os.scandir(get_trash_folder(root)) as entries:
            trashed_names = [
                entry.name
                for entry in entries
                if run_store.is_run_name(get_original_name(entry.name)) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(trashed_names, reverse=True)


def find_trashed_run(root: Path | str, name: str) -> Run:
    """Find a run in the trash by its name.

    Args:
        root: folder of all runs.
        name: name of the run, or a prefix or suffix that only one run has.

    Returns:
        The run, in the trash.

    Raises:
        RunError: no run, or several runs match.
    """
    matches = run_store.match_run_names(list_trashed_names(root), name)
    if len(matches) != 1:
        raise RunError("run.several" if matches else "run.not_binned", run=name, names=", ".join(matches[:5]))
    return Run(get_trash_folder(root) / matches[0])


def discard_runs(runs: Sequence[Run]) -> list[Run]:
    """Move runs to the trash; none is moved if one of them may not be.

    Args:
        runs: runs to delete.

    Returns:
        The runs at their new place.

    Raises:
        RunError: a run is being trained, or does not exist any more; or the system does not let a folder be moved (the
            runs before it are in the trash then).
    """
    # All checks come before the first move.
    for run in runs:
        _check_exists(run)
        if run.liveness.is_active():
            raise RunError("run.bin_live", run=run.name)
    trashed_runs = []
    for run in runs:
        trash_folder = get_trash_folder(run.path.parent)
        with run.translate_write_errors():
            trash_folder.mkdir(exist_ok=True)
        trashed_runs.append(_move_run(run, _find_free_path(trash_folder, run.name)))
        with suppress(OSError):
            os.utime(trashed_runs[-1].path)  # the time of deletion, for `remove_expired_runs`
    return trashed_runs


def restore_runs(runs: Sequence[Run]) -> list[Run]:
    """Move runs back from the trash; none is moved if one of them may not be.

    Args:
        runs: runs in the trash.

    Returns:
        The runs at their new place.

    Raises:
        RunError: a run of that name exists again, or the run is no longer in the trash; or the system does not let a
            folder be moved.
    """
    targets = [(run, run.path.parent.parent / get_original_name(run.name)) for run in runs]
    for index, (run, target) in enumerate(targets):
        _check_exists(run)
        # The trash may hold several runs of one name: only one of them can be restored.
        if target.exists() or target in [earlier_target for _, earlier_target in targets[:index]]:
            raise RunError("run.taken", run=target.name)
    return [_move_run(run, target) for run, target in targets]


def empty_trash(root: Path | str, names: Sequence[str] | None = None) -> int:
    """Remove runs in the trash for good; other files in it are left alone.

    Args:
        root: folder of all runs.
        names: names of their folders in the trash; None: all of them.

    Returns:
        Freed bytes.

    Raises:
        RunError: some runs could not be removed; the others are gone.
    """
    freed_bytes = 0
    erased_names = [name for name in list_trashed_names(root) if names is None or name in names]
    for name in erased_names:
        run_path = get_trash_folder(root) / name
        size_before = file_io.get_folder_size(run_path)
        # Errors are ignored here and reported below: one locked file must not keep the other runs.
        shutil.rmtree(run_path, ignore_errors=True)
        freed_bytes += size_before - file_io.get_folder_size(run_path)
    if remaining_names := [name for name in list_trashed_names(root) if name in erased_names]:
        raise RunError(
            "run.bin_left", count=len(remaining_names), run=remaining_names[0], folder=get_trash_folder(root)
        )
    return freed_bytes


def remove_expired_runs(root: Path | str, max_age_seconds: float) -> None:
    """Remove for good the runs that were deleted long ago, as a server for others does.

    Args:
        root: folder of all runs.
        max_age_seconds: time since they were deleted.
    """
    for name in list_trashed_names(root):
        run_path = get_trash_folder(root) / name
        with suppress(OSError):  # restored in the meantime
            if time.time() - run_path.stat().st_mtime > max_age_seconds:
                shutil.rmtree(run_path, ignore_errors=True)


def get_original_name(name: str) -> str:
    """Return the name that a run in the trash had before it was deleted."""
    match = _NUMBERED_NAME_PATTERN.fullmatch(name)
    return match[1] if match else name


def _find_free_path(trash_folder: Path, name: str) -> Path:
    """Return the first free path in the trash among `name`, `name.2`, `name.3` and so on."""
    candidates = (trash_folder / (f"{name}.{number}" if number > 1 else name) for number in count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def _check_exists(run: Run) -> None:
    """Check that a run exists.

    Raises:
        RunError: it does not.
    """
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)


def _move_run(run: Run, target: Path) -> Run:
    """Rename the folder of a run.

    Args:
        run: the run.
        target: new path of its folder.

    Returns:
        The run at its new place.

    Raises:
        RunError: the run does not exist any more, or the system does not let its folder be moved.
    """
    try:
        file_io.move_path(run.path, target)
    except FileNotFoundError as cause:
        raise RunError("run.gone", run=run.name) from cause
    except OSError as cause:  # Windows does not move a folder while one of its files is open
        raise RunError("run.held", run=run.name, folder=run.path.parent, cause=cause.strerror or cause) from cause
    return Run(target)
