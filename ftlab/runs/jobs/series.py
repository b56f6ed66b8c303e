"""Several trainings in turn, one process after the other: the same pictures and seed in every mode. No torch.

A process of its own works through them, so that neither a closed page nor a restarted server ends it. What it has
begun stands in `runs/series-<stamp>-<id>.json`, which is all that a page reads.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from ftlab.config import train_config
from ftlab.core import file_io, machine
from ftlab.runs import process_record, run_store
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.jobs import postmortem, launch
from ftlab.runs.directory import Run

MODES = ("full", "frozen", "scratch")
ADOPT = "FTLAB_SERIES"
"""Environment variable: the file, already there, in which the process shall write."""
_PAUSE = 0.3
_STAMP = len("20260102-103000")


@dataclass(frozen=True)
class Series:
    """What is known of one.

    Attributes:
        runs: names of those begun, in turn.
        modes: of all that shall be.
        pid, created: of the process that works through them; 0 before there is one.
    """

    runs: tuple[str, ...]
    modes: tuple[str, ...]
    pid: int = 0
    created: float = 0.0

    def live(self) -> bool:
        """Whether its process is at work."""
        return self.pid > 0 and process_record.find(self.pid, self.created) is not None


def settings(base: TrainConfig) -> list[TrainConfig]:
    """The same in every mode: pictures, seed and all that was chosen; what was left open is chosen for each.

    Raises:
        ConfigError: something that was chosen makes no sense in one of the modes.
    """
    return [replace(base, mode=mode) for mode in MODES]


def command(base: TrainConfig, root: Path | str) -> list[str]:
    """The words of the command, as a person would type them."""
    given = train_config.argv(base)
    at = given.index("--mode")  # it takes all of them
    return ["python", "-m", "ftlab", "series", *given[:at], *given[at + 2 :], "--runs", str(root)]


def start(base: TrainConfig, root: Path) -> Path:
    """Its process, detached from this one; the file in which it writes.

    Raises:
        ConfigError: something that was chosen makes no sense in one of the modes.
        RunError: a training is under way, or the folder cannot be written.
    """
    settings(base)
    if newest(root) is not None:
        raise RunError("run.series_busy")
    file = _new(root)
    try:
        with open(file.with_suffix(".log"), "wb") as log:
            begun = subprocess.Popen(
                [sys.executable, *command(base, root)[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=launch.environment(**{ADOPT: str(file)}),
                **launch.apart(),
            )
    except OSError as cause:
        raise RunError("run.write", folder=root, cause=cause.strerror or cause) from cause
    threading.Thread(target=begun.wait, daemon=True).start()
    if not file.exists():  # else it has told more already
        _write(file, _of(begun.pid))
    return file


def follow(configs: Sequence[TrainConfig], root: Path, told: Callable[[int, Run], None]) -> list[Run]:
    """Train each in turn, in this process's name. It ends with the first that does not finish: whoever stops one stops
    the series.

    Args:
        told: is given the number, from 0, of a training that begins, and its run.

    Raises:
        RunError: the folder cannot be written.
    """
    file = Path(os.environ.pop(ADOPT, "") or _new(root))
    made: list[Run] = []
    try:
        for number, one in enumerate(configs):
            while run_store.busy(root):  # of somebody else
                time.sleep(_PAUSE)
            made.append(launch.start(one, root))
            _write(file, replace(_of(os.getpid()), runs=tuple(run.name for run in made)))
            told(number, made[-1])
            while made[-1].live():
                time.sleep(_PAUSE)
            if made[-1].status() != "finished":
                break
    except KeyboardInterrupt:
        for run in made[-1:]:
            run.ask_stop()
    return made


def newest(root: Path) -> Series | None:
    """The series at work below `root`, None where there is none."""
    return next((one for _, one in _all(root) if one.live()), None)


def stillborn(root: Path) -> str:
    """Why the newest series ended before its first training, as a sentence; empty where it did not, and once another
    training has begun."""
    file, last = next(_all(root), (None, None))
    if file is None or last is None or last.runs or last.live():
        return ""
    if any(name[:_STAMP] >= file.stem.removeprefix("series-")[:_STAMP] for name in run_store.names(root)[:1]):
        return ""
    return postmortem.of_log(file.with_suffix(".log")).why


def _all(root: Path) -> Iterator[tuple[Path, Series]]:
    """The newest first; one that is being written or damaged is passed over."""
    for file in sorted(root.glob("series-*.json"), reverse=True):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            yield file, Series(tuple(told["runs"]), tuple(told["modes"]), int(told["pid"]), float(told["created"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _of(pid: int) -> Series:
    try:
        return Series((), MODES, pid, machine.born(psutil.Process(pid)))
    except psutil.Error:  # it is over already
        return Series((), MODES)


def _new(root: Path) -> Path:
    return root.absolute() / f"series-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.json"


def _write(file: Path, series: Series) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_io.fresh(file) as part:
            part.write_text(json.dumps(asdict(series), indent=1), encoding="utf-8")
    except OSError as cause:
        raise RunError("run.write", folder=file.parent, cause=cause.strerror or cause) from cause
