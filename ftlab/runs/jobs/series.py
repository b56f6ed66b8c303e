"""Series of trainings, one process after the other: the same images and seed in every mode. No torch.

A separate process works through them, so that neither a closed page nor a restarted server ends it. The runs it has
started are in `runs/series-<stamp>-<id>.json`, which is all that the page reads.
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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ftlab.config import train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, json_fields, machine
from ftlab.core.errors import RunError
from ftlab.runs import process_record, run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, postmortem
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.liveness import ACTIVE_STATUSES
from ftlab.runs.queue.job_queue import JobQueue

SERIES_MODES = ("full", "frozen", "scratch")
SERIES_FILE_ENV = "FTLAB_SERIES"
"""Environment variable: the series file, already created, that the process updates."""
OWNER_ENV = "FTLAB_SERIES_OWNER"
"""Environment variable: whose share of the disk the runs of the process take."""
PAUSABLE_ENV = "FTLAB_SERIES_PAUSABLE"
"""Environment variable: `1` where a pause of the queue binds the runs of the process."""
_POLL_INTERVAL_SECONDS = 0.3
_LOCK_FILE = ".series.lock"
_LOCK_TIMEOUT_SECONDS = 20.0
"""Seconds to wait while another series starts; starting a process on a busy machine takes some."""
_TIMESTAMP_LENGTH = len("20260102-103000")


@dataclass(frozen=True)
class TrainingSeries:
    """Content of a series file.

    Attributes:
        runs: names of the runs started so far, in order.
        modes: modes of all runs of the series.
        pid: ID of the process that works through them; 0 before there is one.
        created: start time of that process as `machine.get_process_start_time` returns it.
    """

    runs: tuple[str, ...]
    modes: tuple[str, ...]
    pid: int = 0
    created: float = 0.0

    def is_active(self) -> bool:
        """Return whether the process of the series is alive."""
        return self.pid > 0 and process_record.find_process(self.pid, self.created) is not None


def expand_modes(base_config: TrainConfig) -> list[TrainConfig]:
    """Return the configuration in every mode of `SERIES_MODES`: with the same images, seed and chosen settings.

    Settings that were left open are resolved for each mode. A `ConfigError` says that a chosen setting is not valid in
    one of the modes.
    """
    return [replace(base_config, mode=mode) for mode in SERIES_MODES]


def build_series_command(base_config: TrainConfig, root: Path | str) -> list[str]:
    """Return the command of a series as a person would type it.

    Args:
        base_config: configuration of the trainings; its mode is not used.
        root: folder of all runs.
    """
    arguments = train_config.config_to_argv(base_config)
    mode_index = arguments.index("--mode")  # `series` trains in all modes and has no such option
    return [
        "python",
        "-m",
        "ftlab",
        "series",
        *arguments[:mode_index],
        *arguments[mode_index + 2 :],
        "--runs",
        str(root),
    ]


def start_series(base_config: TrainConfig, root: Path, owner: str = "", *, is_pausable: bool = False) -> Path:
    """Start the process of a series, detached from this one.

    A `ConfigError` says that a chosen setting is not valid in one of the modes.

    Args:
        base_config: configuration of the trainings; its mode is not used.
        root: folder of all runs.
        owner: whose share of the disk its runs take, as `run_quota.make_owner` returns it.
        is_pausable: a pause of the queue binds its runs.

    Returns:
        The series file.

    Raises:
        RunError: a series is under way already, the folder cannot be written, or it is full.
    """
    run_quota.check_start(root, owner)
    # Checked before anything starts: an error in the third mode must not appear after two trainings.
    expand_modes(base_config)
    file = _new_series_path(root)
    try:
        with _reserve_start(root), file.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *build_series_command(base_config, root)[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=launch.build_environment(
                    **{SERIES_FILE_ENV: str(file), OWNER_ENV: owner, PAUSABLE_ENV: str(int(is_pausable))}
                ),
                **launch.detached_popen_options(),
            )
            # Somebody must collect the exit status, else the ended process stays as a zombie while this one lives.
            threading.Thread(target=process.wait, daemon=True).start()
            if not file.exists():  # the process may have written more already
                _write_series(file, _series_of_process(process.pid))
    except OSError as cause:
        raise RunError("run.write", folder=root, cause=cause.strerror or cause) from cause
    return file


def run_series(configs: Sequence[TrainConfig], root: Path, on_start: Callable[[int, Run], None]) -> list[Run]:
    """Train in every configuration in turn; this process waits for each training, which has a process of its own.

    Each one waits in the queue like any other. The series ends with the first training that does not finish: stopping
    one stops the series, and Ctrl+C stops the training. A `RunError` says that the folder cannot be written.

    Args:
        configs: configurations of the trainings.
        root: folder of all runs.
        on_start: called with the index of a training that starts, and its run.

    Returns:
        The runs that were started.

    Raises:
        KeyboardInterrupt: Ctrl+C was pressed; the training was asked to stop.
    """
    owner, is_pausable = os.environ.pop(OWNER_ENV, ""), os.environ.pop(PAUSABLE_ENV, "") == "1"
    file, runs, queue = _adopt_or_create_series(root), list[Run](), open_queue(root)
    try:
        for number, config in enumerate(configs):
            runs.append(queue.add_training(config, owner, is_pausable=is_pausable))
            _write_series(file, replace(_series_of_process(os.getpid()), runs=tuple(run.name for run in runs)))
            _wait_for_run(queue, runs[-1], partial(on_start, number))
            if runs[-1].liveness.get_status() != "finished":
                break
    except KeyboardInterrupt:
        for run in runs[-1:]:
            if not queue.cancel(run):
                run.liveness.request_stop()
        raise
    finally:
        # This process may live on (the Python API), but no longer for the series.
        with suppress(RunError):
            _write_series(file, TrainingSeries(tuple(run.name for run in runs), SERIES_MODES))
    return runs


def _wait_for_run(queue: JobQueue, run: Run, on_start: Callable[[Run], None]) -> None:
    """Wait until a queued run has ended; meanwhile look after the queue, as any other process does.

    Args:
        queue: the queue.
        run: the run.
        on_start: called once when the run starts; not if it is taken out of the queue before.
    """
    has_started = False
    queue.dispatch()
    while (status := run.liveness.get_status()) in ACTIVE_STATUSES:
        if status != "queued" and not has_started:
            has_started = True
            on_start(run)
        time.sleep(_POLL_INTERVAL_SECONDS)
        queue.dispatch()
    if status == "finished" and not has_started:  # within one interval
        on_start(run)


def _adopt_or_create_series(root: Path) -> Path:
    """Return the series file that the parent process has created for this one, or create one.

    Args:
        root: folder of all runs.

    Returns:
        The series file.

    Raises:
        RunError: a series is under way already, or the folder cannot be written.
    """
    adopted_file = os.environ.pop(SERIES_FILE_ENV, "")
    if adopted_file:
        return Path(adopted_file)
    file = _new_series_path(root)
    try:
        with _reserve_start(root):
            _write_series(file, _series_of_process(os.getpid()))
    except OSError as cause:
        raise RunError("run.write", folder=root, cause=cause.strerror or cause) from cause
    return file


@contextmanager
def _reserve_start(root: Path) -> Iterator[None]:
    """Let one series start at a time, over all processes; the block must record it before it ends.

    An `OSError` propagates if the folder cannot be written.

    Args:
        root: folder of all runs.

    Yields:
        Nothing.

    Raises:
        RunError: a series is under way already, or starts just now.
    """
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / _LOCK_FILE, timeout=_LOCK_TIMEOUT_SECONDS):
            if find_active_series(root) is not None:
                raise RunError("run.series_busy")
            yield
    except Timeout as cause:
        raise RunError("run.series_busy") from cause


def find_active_series(root: Path) -> TrainingSeries | None:
    """Return the active series below `root`; None where there is none."""
    return next((series for _, series in _iter_series(root) if series.is_active()), None)


def explain_failed_start(root: Path) -> str:
    """Return why the newest series ended before its first training, as a sentence.

    Returns:
        The sentence; empty where the series did start a training, and once another training was started.
    """
    file, series = next(_iter_series(root), (None, None))
    if file is None or series is None or series.runs or series.is_active():
        return ""
    if any(
        run_name[:_TIMESTAMP_LENGTH] >= file.stem.removeprefix("series-")[:_TIMESTAMP_LENGTH]
        for run_name in run_store.list_run_names(root)[:1]
    ):
        return ""
    return postmortem.find_cause_in_log(file.with_suffix(".log")).explanation


def _iter_series(root: Path) -> Iterator[tuple[Path, TrainingSeries]]:
    """Iterate over the series below `root`, the newest first; damaged files are skipped.

    Yields:
        The series file and its content.
    """
    for file in sorted(root.glob("series-*.json"), reverse=True):
        try:
            values = json_fields.read_json_object(file)
            yield (
                file,
                TrainingSeries(
                    tuple(values["runs"]), tuple(values["modes"]), int(values["pid"]), float(values["created"])
                ),
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _series_of_process(pid: int) -> TrainingSeries:
    """Return a series without runs for a process that works, or has worked, through it."""
    try:
        return TrainingSeries((), SERIES_MODES, pid, machine.get_process_start_time(psutil.Process(pid)))
    except psutil.Error:  # the process has ended already
        return TrainingSeries((), SERIES_MODES)


def _new_series_path(root: Path) -> Path:
    """Return the path of a new series file: its name begins with the time, so that names sort by age."""
    return root.absolute() / f"series-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.json"


def _write_series(file: Path, series: TrainingSeries) -> None:
    """Replace a series file atomically.

    Args:
        file: the series file.
        series: its new content.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_io.atomic_write(file) as part_path:
            part_path.write_text(json.dumps(asdict(series), indent=1), encoding="utf-8")
    except OSError as cause:
        raise RunError("run.write", folder=file.parent, cause=cause.strerror or cause) from cause
