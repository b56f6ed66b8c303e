"""The bin: where deleted runs lie until a person empties it, in `.bin/` beside the runs. No torch.

To delete a run is one rename of its folder: at once and whole, nothing is copied, and it works on a full disk. Only
`empty_trash` frees anything.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from ftlab.core import file_io
from ftlab.runs import run_store
from ftlab.core.errors import RunError
from ftlab.runs.run_store import TRASH_FOLDER
from ftlab.runs.directory import Run

_NUMBERED_NAME_PATTERN = re.compile(r"(.*?)(\.\d+)?")
"""A second run of a name, in the bin, has a number behind it."""


def get_trash_folder(root: Path | str) -> Path:
    """The bin of a folder of runs; it is made by the first run that is deleted."""
    return Path(root).absolute() / TRASH_FOLDER


def list_trashed_names(root: Path | str) -> list[str]:
    """Names of what lies in the bin, that of the newest run first."""
    try:
        with os.scandir(get_trash_folder(root)) as entries:
            trashed_names = [entry.name for entry in entries if run_store.is_run_name(get_original_name(entry.name)) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(trashed_names, reverse=True)


def find_trashed_run(root: Path | str, name: str) -> Run:
    """The run of that name in the bin; a beginning or an end that only one has is enough.

    Raises:
        RunError: none, or several.
    """
    matches = run_store.match_run_names(list_trashed_names(root), name)
    if len(matches) != 1:
        raise RunError("run.several" if matches else "run.not_binned", run=name, names=", ".join(matches[:5]))
    return Run(get_trash_folder(root) / matches[0])


def discard_runs(runs: Sequence[Run]) -> list[Run]:
    """Delete runs; where they lie now. None is moved if one of them may not be.

    Raises:
        RunError: one is being trained, or is not there any more; the system does not let go of one (those before it are
            in the bin then).
    """
    for run in runs:
        _check_exists(run)
        if run.is_active():
            raise RunError("run.bin_live", run=run.name)
    trashed_runs = []
    for run in runs:
        trash_folder = get_trash_folder(run.path.parent)
        with run.translate_write_errors():
            trash_folder.mkdir(exist_ok=True)
        trashed_runs.append(_move_run(run, _find_free_path(trash_folder, run.name)))
    return trashed_runs


def restore_runs(runs: Sequence[Run]) -> list[Run]:
    """Bring runs back from the bin; where they lie now. None is moved if one of them may not be.

    Raises:
        RunError: a run of that name is there again, or this one is in the bin no more; the system does not let go
            of one.
    """
    targets = [(run, run.path.parent.parent / get_original_name(run.name)) for run in runs]
    for index, (run, target) in enumerate(targets):
        _check_exists(run)
        if target.exists() or target in [earlier_target for _, earlier_target in targets[:index]]:
            raise RunError("run.taken", run=target.name)
    return [_move_run(run, target) for run, target in targets]


def empty_trash(root: Path | str) -> int:
    """Remove for good what lies in the bin; the bytes that were freed. Nothing but runs is touched.

    Raises:
        RunError: some of it could not be removed; the rest is gone.
    """
    freed_bytes = 0
    for name in list_trashed_names(root):
        run_path = get_trash_folder(root) / name
        size_before = file_io.get_folder_size(run_path)
        shutil.rmtree(run_path, ignore_errors=True)
        freed_bytes += size_before - file_io.get_folder_size(run_path)
    if remaining_names := list_trashed_names(root):
        raise RunError("run.bin_left", count=len(remaining_names), run=remaining_names[0], folder=get_trash_folder(root))
    return freed_bytes


def get_original_name(name: str) -> str:
    """The name that a run in the bin had before."""
    match = _NUMBERED_NAME_PATTERN.fullmatch(name)
    return match[1] if match else name


def _find_free_path(trash_folder: Path, name: str) -> Path:
    candidates = (trash_folder / (f"{name}.{number}" if number > 1 else name) for number in count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def _check_exists(run: Run) -> None:
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)


def _move_run(run: Run, target: Path) -> Run:
    try:
        file_io.move_path(run.path, target)
    except FileNotFoundError as cause:
        raise RunError("run.gone", run=run.name) from cause
    except OSError as cause:  # Windows moves no folder of which a file is open
        raise RunError("run.held", run=run.name, folder=run.path.parent, cause=cause.strerror or cause) from cause
    return Run(target)
