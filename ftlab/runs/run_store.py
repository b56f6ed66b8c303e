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
from ftlab.runs.directory import LIVE, Run

__all__ = ["BIN", "LIVE", "Run", "busy", "create", "find", "fits", "is_name", "names"]

BIN = ".bin"
"""Folder below that of the runs, in which those lie that a person deleted: a run's name is no name of it."""
_NAME = re.compile(r"\d{8}-\d{6}-[A-Za-z0-9_.]+-(frozen|full|scratch)-[0-9a-f]{12}")


def create(root: Path | str, config: TrainConfig) -> Run:
    """A new run directory below `root` with its `config.json`.

    Raises:
        RunError: the folder cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backbone = config.backbone.replace("/", ".")  # timm/…: a name is one folder
    run = Run(Path(root).absolute() / f"{stamp}-{backbone}-{config.mode}-{secrets.token_hex(6)}")
    with run.writing():
        (run.path / "last").mkdir(parents=True)
    run.write("config.json", {"config": config.to_json(), "created": time.time()})
    return run


def find(root: Path | str, name: str) -> Run:
    """The run of that name below `root`; a beginning or an end that only one run has is enough, `latest` is the
    newest. Never anything outside `root`.

    Raises:
        RunError: none, or several; or it lies in the bin.
    """
    known = names(root)
    if name == "latest" and known:
        return Run(Path(root).absolute() / known[0])
    fitting = fits(known, name)
    if len(fitting) == 1:
        return Run(Path(root).absolute() / fitting[0])
    if not fitting and len(binned := fits(names(Path(root) / BIN), name)) == 1:
        raise RunError("run.binned", run=binned[0])
    raise RunError("run.several" if fitting else "run.missing", run=name, folder=root, names=", ".join(fitting[:5]))


def fits(known: Sequence[str], name: str) -> list[str]:
    """Of names those that begin or end so; the one that is it alone, where there is one."""
    hits = [one for one in known if name and (one.startswith(name) or one.endswith(name))]
    return [name] if name in hits else hits


def names(root: Path | str) -> list[str]:
    """Names of the runs below `root`, the newest first."""
    try:
        with os.scandir(root) as entries:
            found = [e.name for e in entries if is_name(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, reverse=True)


def is_name(name: str) -> bool:
    """Whether a folder of that name can be a run."""
    return _NAME.fullmatch(name) is not None


def busy(root: Path | str) -> list[Run]:
    """Runs below `root` that a process works on now."""
    return [run for run in (Run(Path(root).absolute() / name) for name in names(root)) if run.live()]
