"""The folder of all runs: a new one, one by its name, those at work. No torch."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.directory import ACTIVE_STATUSES, Run

TRASH_FOLDER = ".bin"
"""Folder below that of the runs, in which those lie that a person deleted: a run's name is no name of it."""
RUN_NAME_PATTERN = re.compile(r"\d{8}-\d{6}-[A-Za-z0-9_.]+-(frozen|full|scratch)-[0-9a-f]{12}")


def create_run(root: Path | str, config: TrainConfig) -> Run:
    """A new run directory below `root` with its `config.json`.

    Raises:
        RunError: the folder cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backbone = config.backbone.replace("/", ".")  # timm/…: a name is one folder
    run = Run(Path(root).absolute() / f"{stamp}-{backbone}-{config.mode}-{secrets.token_hex(6)}")
    with run.translate_write_errors():
        (run.path / "last").mkdir(parents=True)
    run.write_json("config.json", {"config": config.to_json(), "created": time.time()})
    return run


def find_run(root: Path | str, name: str) -> Run:
    """The run of that name below `root`; a beginning or an end that only one run has is enough, `latest` is the
    newest. Never anything outside `root`.

    Raises:
        RunError: none, or several; or it lies in the bin.
    """
    run_names = list_run_names(root)
    if name == "latest" and run_names:
        return Run(Path(root).absolute() / run_names[0])
    matches = match_run_names(run_names, name)
    if len(matches) == 1:
        return Run(Path(root).absolute() / matches[0])
    if not matches and len(trashed_matches := match_run_names(list_run_names(Path(root) / TRASH_FOLDER), name)) == 1:
        raise RunError("run.binned", run=trashed_matches[0])
    raise RunError("run.several" if matches else "run.missing", run=name, folder=root, names=", ".join(matches[:5]))


def match_run_names(run_names: Sequence[str], name: str) -> list[str]:
    """Of names those that begin or end so; the one that is it alone, where there is one."""
    matches = [run_name for run_name in run_names if name and (run_name.startswith(name) or run_name.endswith(name))]
    return [name] if name in matches else matches


def list_run_names(root: Path | str) -> list[str]:
    """Names of the runs below `root`, the newest first."""
    try:
        with os.scandir(root) as entries:
            run_names = [entry.name for entry in entries if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(run_names, reverse=True)


def is_run_name(name: str) -> bool:
    """Whether a folder of that name can be a run."""
    return RUN_NAME_PATTERN.fullmatch(name) is not None


def find_active_runs(root: Path | str) -> list[Run]:
    """Runs below `root` that a process works on now."""
    return [run for run in (Run(Path(root).absolute() / name) for name in list_run_names(root)) if run.is_active()]
