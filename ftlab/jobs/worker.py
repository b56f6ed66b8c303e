"""Start, resume and stop the process of a run. No torch.

The process runs the very command that the page shows; the run directory that was made for it travels in the
environment (`FTLAB_RUN`), so that the command stays what a person would type.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftlab import config, runs
from ftlab.config import TrainConfig
from ftlab.errors import RunError
from ftlab.runs import Run

ADOPT = "FTLAB_RUN"
"""Environment variable: the run directory, already made, that `train` shall use."""


def command(settings: TrainConfig, root: Path | str) -> list[str]:
    """The words of the command that trains with these settings, as a person would type them."""
    return ["python", "-m", "ftlab", "train", *config.argv(settings), "--runs", str(root)]


def shown(words: list[str]) -> str:
    """A command as one line for the shell of this system."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def start(settings: TrainConfig, root: Path | str) -> Run:
    """A new run and its process.

    Raises:
        RunError: the folder cannot be written.
    """
    run = runs.create(root, settings)
    return _spawn(command(settings, root), run)


def resume(run: Run) -> Run:
    """Go on with a run that ended early.

    Raises:
        RunError: it is at work already, or it is finished.
    """
    status = run.status()
    if status in runs.LIVE:
        raise RunError("run.busy", run=run.name)
    if status == "finished":
        raise RunError("run.finished", run=run.name)
    return _spawn(["python", "-m", "ftlab", "resume", run.name, "--runs", str(run.path.parent)], run)


def environment(**more: str) -> dict[str, str]:
    """The environment in which `python -m ftlab` finds this very ftlab, wherever it was started."""
    here = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, **more}


def _spawn(words: list[str], run: Run) -> Run:
    """The process outlives this one: it has a session of its own, and its output goes to a file."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    with open(run.log, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(**{ADOPT: str(run.path), "PYTHONUNBUFFERED": "1"}),
            **apart,
        )
    run.hand_to(process.pid)
    _CHILDREN.append(process)
    reap()
    return run


_CHILDREN: list[subprocess.Popen[bytes]] = []


def reap() -> None:
    """Collect processes of ours that have ended, so that none stays a zombie."""
    _CHILDREN[:] = [process for process in _CHILDREN if process.poll() is None]
