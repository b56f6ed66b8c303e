"""From Start to the first point of the curves: a spare process with PyTorch loaded against a new process, in turn.

    python -m benchmarks.first_point FOLDER --rounds 5

Features are kept from an untimed training before. Start is what the button calls: the run is queued and started. The
first point is the first event of a step or an epoch. A spare process is used once it computes nothing any more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.row import report_at_most
from ftlab.config.train_config import TrainConfig
from ftlab.runs.events import Epoch, Step
from ftlab.runs.jobs import local_launcher, warm_worker

_TIMEOUT_SECONDS = 300.0
_POLL_SECONDS = 0.005
MAX_RATIO = 0.35
"""Largest acceptable ratio of the spare process to a new one."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FTLAB_HOME"] = str(Path(scratch, "home"))
        config = TrainConfig(data=str(options.folder.absolute()), epochs=2)
        measure_first_point(Path(scratch, "runs"), config)
        cold_seconds, warm_seconds, memory_megabytes = [], [], []
        for _ in range(options.rounds):
            cold_seconds.append(measure_first_point(Path(scratch, "runs"), config))
            memory_megabytes.append(prepare_spare_process())
            warm_seconds.append(measure_first_point(Path(scratch, "runs"), config))
        warm_worker.SHARED_WORKER.discard()
    cold, warm = statistics.median(cold_seconds), statistics.median(warm_seconds)
    details = (
        f"{warm:.2f} s ({min(warm_seconds):.2f}–{max(warm_seconds):.2f}) against {cold:.2f} s "
        f"({min(cold_seconds):.2f}–{max(cold_seconds):.2f}); it takes {max(memory_megabytes):.0f} MB of its own"
    )
    report_at_most("First point after Start, spare process against a new one", warm / cold, MAX_RATIO, "×", details)


def measure_first_point(root: Path, config: TrainConfig) -> float:
    """Return the seconds from Start to the first point of a training, and wait for its end.

    Args:
        root: folder of all runs.
        config: of the training.

    Returns:
        The seconds.

    Raises:
        TimeoutError: it does not get there.
    """
    queue, start = local_launcher.open_queue(root), time.perf_counter()
    run = queue.add_training(config)
    queue.dispatch()
    while not any(isinstance(event, (Step, Epoch)) for event in run.read_events()[0]):
        if time.perf_counter() - start > _TIMEOUT_SECONDS or not run.liveness.is_active():
            raise TimeoutError(run.log_path.read_text(encoding="utf-8"))
        time.sleep(_POLL_SECONDS)
    seconds = time.perf_counter() - start
    while run.liveness.is_active():
        time.sleep(0.05)
    return seconds


def prepare_spare_process() -> float:
    """Start a spare process and wait until it has imported everything.

    Returns:
        The memory that it shares with no other process, in MB.

    Raises:
        RuntimeError: there is none, as where too little memory is available.
    """
    warm_worker.SHARED_WORKER.keep_ready()
    pid = warm_worker.SHARED_WORKER.get_process_id()
    if pid is None:
        raise RuntimeError("no spare process could be started")
    process, before = psutil.Process(pid), -1.0
    while (used := sum(process.cpu_times()[:2])) > before:
        before = used
        time.sleep(1.0)
    return float(process.memory_full_info().uss / 1e6)


if __name__ == "__main__":
    main()
