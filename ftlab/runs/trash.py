"""The bin: where deleted runs lie until a person empties it, in `.bin/` beside the runs. No torch.

To delete a run is one rename of its folder: at once and whole, nothing is copied, and it works on a full disk. Only
`empty` frees anything.
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
from ftlab.runs.run_store import BIN
from ftlab.runs.directory import Run

_AGAIN = re.compile(r"(.*?)(\.\d+)?")
"""A second run of a name, in the bin, has a number behind it."""


def folder(root: Path | str) -> Path:
    """The bin of a folder of runs; it is made by the first run that is deleted."""
    return Path(root).absolute() / BIN


def names(root: Path | str) -> list[str]:
    """Names of what lies in the bin, that of the newest run first."""
    try:
        with os.scandir(folder(root)) as entries:
            found = [e.name for e in entries if run_store.is_name(own_name(e.name)) and e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, reverse=True)


def find(root: Path | str, name: str) -> Run:
    """The run of that name in the bin; a beginning or an end that only one has is enough.

    Raises:
        RunError: none, or several.
    """
    fitting = run_store.fits(names(root), name)
    if len(fitting) != 1:
        raise RunError("run.several" if fitting else "run.not_binned", run=name, names=", ".join(fitting[:5]))
    return Run(folder(root) / fitting[0])


def discard(several: Sequence[Run]) -> list[Run]:
    """Delete runs; where they lie now. None is moved if one of them may not be.

    Raises:
        RunError: one is being trained, or is not there any more; the system does not let go of one (those before it are
            in the bin then).
    """
    for run in several:
        _there(run)
        if run.live():
            raise RunError("run.bin_live", run=run.name)
    moved = []
    for run in several:
        place = folder(run.path.parent)
        with run.writing():
            place.mkdir(exist_ok=True)
        moved.append(_moved(run, _free(place, run.name)))
    return moved


def restore(several: Sequence[Run]) -> list[Run]:
    """Bring runs back from the bin; where they lie now. None is moved if one of them may not be.

    Raises:
        RunError: a run of that name is there again, or this one is in the bin no more; the system does not let go
            of one.
    """
    back = [(run, run.path.parent.parent / own_name(run.name)) for run in several]
    for number, (run, place) in enumerate(back):
        _there(run)
        if place.exists() or place in [other for _, other in back[:number]]:
            raise RunError("run.taken", run=place.name)
    return [_moved(run, place) for run, place in back]


def empty(root: Path | str) -> int:
    """Remove for good what lies in the bin; the bytes that were freed. Nothing but runs is touched.

    Raises:
        RunError: some of it could not be removed; the rest is gone.
    """
    freed = 0
    for name in names(root):
        place = folder(root) / name
        before = file_io.size(place)
        shutil.rmtree(place, ignore_errors=True)
        freed += before - file_io.size(place)
    if left := names(root):
        raise RunError("run.bin_left", count=len(left), run=left[0], folder=folder(root))
    return freed


def own_name(name: str) -> str:
    """The name that a run in the bin had before."""
    found = _AGAIN.fullmatch(name)
    return found[1] if found else name


def _free(place: Path, name: str) -> Path:
    tried = (place / (f"{name}.{number}" if number > 1 else name) for number in count(1))
    return next(one for one in tried if not one.exists())


def _there(run: Run) -> None:
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)


def _moved(run: Run, place: Path) -> Run:
    try:
        file_io.move(run.path, place)
    except FileNotFoundError as cause:
        raise RunError("run.gone", run=run.name) from cause
    except OSError as cause:  # Windows moves no folder of which a file is open
        raise RunError("run.held", run=run.name, folder=run.path.parent, cause=cause.strerror or cause) from cause
    return Run(place)
