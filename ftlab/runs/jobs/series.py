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

SERIES_MODES = ("full", "frozen", "scratch")
SERIES_FILE_ENV = "FTLAB_SERIES"
"""Environment variable: the file, already there, in which the process shall write."""
_POLL_INTERVAL_SECONDS = 0.3
_TIMESTAMP_LENGTH = len("20260102-103000")


@dataclass(frozen=True)
class TrainingSeries:
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

    def is_active(self) -> bool:
        """Whether its process is at work."""
        return self.pid > 0 and process_record.find_process(self.pid, self.created) is not None


def expand_modes(base_config: TrainConfig) -> list[TrainConfig]:
    """The same in every mode: pictures, seed and all that was chosen; what was left open is chosen for each.

    Raises:
        ConfigError: something that was chosen makes no sense in one of the modes.
    """
    return [replace(base_config, mode=mode) for mode in SERIES_MODES]


def build_series_command(base_config: TrainConfig, root: Path | str) -> list[str]:
    """The words of the command, as a person would type them."""
    arguments = train_config.config_to_argv(base_config)
    mode_index = arguments.index("--mode")  # it takes all of them
    return ["python", "-m", "ftlab", "series", *arguments[:mode_index], *arguments[mode_index + 2 :], "--runs", str(root)]


def start_series(base_config: TrainConfig, root: Path) -> Path:
    """Its process, detached from this one; the file in which it writes.

    Raises:
        ConfigError: something that was chosen makes no sense in one of the modes.
        RunError: a training is under way, or the folder cannot be written.
    """
    expand_modes(base_config)
    if find_active_series(root) is not None:
        raise RunError("run.series_busy")
    file = _new_series_path(root)
    try:
        with open(file.with_suffix(".log"), "wb") as log:
            process = subprocess.Popen(
                [sys.executable, *build_series_command(base_config, root)[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=launch.build_environment(**{SERIES_FILE_ENV: str(file)}),
                **launch.detached_popen_options(),
            )
    except OSError as cause:
        raise RunError("run.write", folder=root, cause=cause.strerror or cause) from cause
    threading.Thread(target=process.wait, daemon=True).start()
    if not file.exists():  # else it has told more already
        _write_series(file, _series_of_process(process.pid))
    return file


def run_series(configs: Sequence[TrainConfig], root: Path, on_start: Callable[[int, Run], None]) -> list[Run]:
    """Train each in turn, in this process's name. It ends with the first that does not finish: whoever stops one stops
    the series.

    Args:
        on_start: is given the number, from 0, of a training that begins, and its run.

    Raises:
        RunError: the folder cannot be written.
    """
    file = Path(os.environ.pop(SERIES_FILE_ENV, "") or _new_series_path(root))
    runs: list[Run] = []
    try:
        for number, config in enumerate(configs):
            while run_store.find_active_runs(root):  # of somebody else
                time.sleep(_POLL_INTERVAL_SECONDS)
            runs.append(launch.start_training(config, root))
            _write_series(file, replace(_series_of_process(os.getpid()), runs=tuple(run.name for run in runs)))
            on_start(number, runs[-1])
            while runs[-1].is_active():
                time.sleep(_POLL_INTERVAL_SECONDS)
            if runs[-1].get_status() != "finished":
                break
    except KeyboardInterrupt:
        for run in runs[-1:]:
            run.request_stop()
    return runs


def find_active_series(root: Path) -> TrainingSeries | None:
    """The series at work below `root`, None where there is none."""
    return next((series for _, series in _iter_series(root) if series.is_active()), None)


def explain_failed_start(root: Path) -> str:
    """Why the newest series ended before its first training, as a sentence; empty where it did not, and once another
    training has begun."""
    file, series = next(_iter_series(root), (None, None))
    if file is None or series is None or series.runs or series.is_active():
        return ""
    if any(run_name[:_TIMESTAMP_LENGTH] >= file.stem.removeprefix("series-")[:_TIMESTAMP_LENGTH] for run_name in run_store.list_run_names(root)[:1]):
        return ""
    return postmortem.find_cause_in_log(file.with_suffix(".log")).explanation


def _iter_series(root: Path) -> Iterator[tuple[Path, TrainingSeries]]:
    """The newest first; one that is being written or damaged is passed over."""
    for file in sorted(root.glob("series-*.json"), reverse=True):
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            yield file, TrainingSeries(tuple(values["runs"]), tuple(values["modes"]), int(values["pid"]), float(values["created"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _series_of_process(pid: int) -> TrainingSeries:
    try:
        return TrainingSeries((), SERIES_MODES, pid, machine.get_process_start_time(psutil.Process(pid)))
    except psutil.Error:  # it is over already
        return TrainingSeries((), SERIES_MODES)


def _new_series_path(root: Path) -> Path:
    return root.absolute() / f"series-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.json"


def _write_series(file: Path, series: TrainingSeries) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_io.atomic_write(file) as part_path:
            part_path.write_text(json.dumps(asdict(series), indent=1), encoding="utf-8")
    except OSError as cause:
        raise RunError("run.write", folder=file.parent, cause=cause.strerror or cause) from cause
