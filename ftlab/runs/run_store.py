"""The folder of all runs: create a run, find one by its name, list the active ones. No torch."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

TRASH_FOLDER = ".bin"
"""Subfolder of the runs folder that holds deleted runs; it does not match `RUN_NAME_PATTERN`, so it is never listed."""
RUN_NAME_PATTERN = re.compile(r"\d{8}-\d{6}-[A-Za-z0-9_.]+-(frozen|full|scratch)-[0-9a-f]{12}")
"""Names of run directories: start time, backbone, mode and a random ID."""


def create_run(root: Path | str, config: TrainConfig) -> Run:
    """Create a run directory with its `config.json`; a `RunError` says that the folder cannot be written.

    Args:
        root: folder of all runs; created where it does not exist.
        config: configuration of the run.

    Returns:
        The new run.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backbone = config.backbone.replace("/", ".")  # "timm/…": the name of a run is a single folder
    run = Run(Path(root).absolute() / f"{stamp}-{backbone}-{config.mode}-{secrets.token_hex(6)}")
    with run.translate_write_errors():
        (run.path / "last").mkdir(parents=True)
    run.write_json("config.json", {"config": config.to_json(), "created": time.time()})
    return run


def find_run(root: Path | str, name: str, may_see: Callable[[Run], bool] = lambda _run: True) -> Run:
    """Find a run by its name.

    Args:
        root: folder of all runs. Nothing outside of it is ever returned, whatever `name` holds.
        name: name of the run, a prefix or suffix that only one run has, or `latest` for the newest.
        may_see: returns whether there is a run for whoever asks; also called with those in the trash.

    Returns:
        The run.

    Raises:
        RunError: no run, or several runs match; or the run is in the trash.
    """
    folder = Path(root).absolute()
    run_names = [run_name for run_name in list_run_names(root) if may_see(Run(folder / run_name))]
    if name == "latest" and run_names:
        return Run(folder / run_names[0])
    matches = match_run_names(run_names, name)
    if len(matches) == 1:
        return Run(folder / matches[0])
    trash_folder = folder / TRASH_FOLDER
    trashed_names = [] if matches else [run for run in list_run_names(trash_folder) if may_see(Run(trash_folder / run))]
    if len(trashed_matches := match_run_names(trashed_names, name)) == 1:
        raise RunError("run.binned", run=trashed_matches[0])
    raise RunError("run.several" if matches else "run.missing", run=name, folder=root, names=", ".join(matches[:5]))


def find_usable_run(root: Path | str, name: str, may_see: Callable[[Run], bool] = lambda _run: True) -> Run:
    """Find a run by its name, for its weights: `latest` passes over those that ended without any.

    Args:
        root: folder of all runs.
        name: as for `find_run`; any other name than `latest` may also be that of a run without weights.
        may_see: as for `find_run`.

    Returns:
        The run; it may be active and have no weights yet.

    Raises:
        RunError: as `find_run`; or all runs ended without weights.
    """
    newest_run = find_run(root, name, may_see)
    if name != "latest" or not newest_run.left_nothing():
        return newest_run
    runs = (Run(newest_run.path.parent / run_name) for run_name in list_run_names(root))
    usable_run = next((run for run in runs if may_see(run) and not run.left_nothing()), None)
    if usable_run is None:
        raise RunError("run.none_usable", run=newest_run.name, folder=root)
    return usable_run


def match_run_names(run_names: Sequence[str], name: str) -> list[str]:
    """Select the names that start or end with a text.

    Args:
        run_names: names to select from.
        name: the text; an empty one matches nothing.

    Returns:
        The matching names; only the name that equals the text, where there is one.
    """
    matches = [run_name for run_name in run_names if name and (run_name.startswith(name) or run_name.endswith(name))]
    return [name] if name in matches else matches


def list_run_names(root: Path | str) -> list[str]:
    """Return the names of the runs below `root`, the newest first."""
    try:
        # os.scandir, not Path.iterdir: it tells folders from files without a system call per entry.
        with os.scandir(root) as entries:
            run_names = [
                entry.name for entry in entries if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(run_names, reverse=True)


def is_run_name(name: str) -> bool:
    """Return whether a folder of this name can be a run."""
    return RUN_NAME_PATTERN.fullmatch(name) is not None


def find_active_runs(root: Path | str) -> list[Run]:
    """Return the runs below `root` on which a process works now, or will as soon as it can."""
    return [
        run for run in (Run(Path(root).absolute() / name) for name in list_run_names(root)) if run.liveness.is_active()
    ]
