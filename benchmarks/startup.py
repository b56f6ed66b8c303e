"""Start-up times: the command line, the page, the first point of a training's curves.

    python -m benchmarks.startup FOLDER --rounds 5

Whole processes, medians. The page is ready when it answers; the first point is the first event of a step or an epoch
that a training on FOLDER (default backbone, frozen, empty caches) has written: the page draws it at its next update,
within a second.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.row import report_at_most
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.directory import Run

PROJECT_ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 120.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch_folder = Path(scratch)
        # The command that lists runs gets some to list.
        for _ in range(20):
            run_store.create_run(scratch_folder / "runs", TrainConfig(sample="shapes"))
        measures: dict[str, tuple[float, Callable[[], float]]] = {
            "`python -m ftlab --help`": (0.4, lambda: _time_command(["--help"])),
            "`python -m ftlab runs`, 20 runs": (
                0.4,
                lambda: _time_command(["runs", "--runs", str(scratch_folder / "runs")]),
            ),
            "`python app.py` until it answers": (6.0, lambda: _time_page(scratch_folder)),
            "Start of a training until its first point": (
                6.0,
                lambda: _time_first_point(scratch_folder, options.folder),
            ),
        }
        for name, (max_seconds, measure) in measures.items():
            durations = sorted(measure() for _ in range(options.rounds))
            details = f"{durations[0]:.2f}–{durations[-1]:.2f} s in {options.rounds} rounds"
            report_at_most(name, statistics.median(durations), max_seconds, "s", details)


def _time_command(arguments: list[str]) -> float:
    """Return the seconds of an ftlab command."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "ftlab", *arguments], cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def _time_page(scratch_folder: Path) -> float:
    """Return the seconds until the page answers.

    Args:
        scratch_folder: parent of the runs and of ftlab's home folder.

    Raises:
        TimeoutError: it does not.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        # A free port; the server needs its number in advance.
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--runs", str(scratch_folder / "runs")]
    start = time.monotonic()
    with _start_process(command, scratch_folder / "home") as server:
        try:
            while time.monotonic() - start < _TIMEOUT_SECONDS:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                        assert response.status == 200
                        return time.monotonic() - start
                except OSError:
                    time.sleep(0.02)
            raise TimeoutError
        finally:
            server.terminate()


def _time_first_point(scratch_folder: Path, folder: Path) -> float:
    """Return the seconds until a training has written its first point.

    Args:
        scratch_folder: parent of the run's folder.
        folder: folder of images.

    Raises:
        TimeoutError: it does not.
    """
    with tempfile.TemporaryDirectory(dir=scratch_folder) as run_folder:
        arguments = ["train", "--data", str(folder.absolute()), "--mode", "frozen", "--runs", f"{run_folder}/runs"]
        start = time.monotonic()
        with _start_process([sys.executable, "-m", "ftlab", *arguments], Path(run_folder, "home")) as process:
            try:
                while time.monotonic() - start < _TIMEOUT_SECONDS:
                    if any(_has_points(Run(path)) for path in Path(run_folder, "runs").glob("*-*")):
                        return time.monotonic() - start
                    time.sleep(0.02)
                raise TimeoutError
            finally:
                process.wait()  # the training must not run into the next measurement


def _start_process(command: list[str], home: Path) -> subprocess.Popen[bytes]:
    """Return a started process with an ftlab home of its own."""
    env, devnull = {**os.environ, "FTLAB_HOME": str(home)}, subprocess.DEVNULL
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=env, stdout=devnull, stderr=devnull)


def _has_points(run: Run) -> bool:
    """Return whether a run has written an event of a step or an epoch."""
    metrics_path = run.path / "metrics.jsonl"
    return metrics_path.is_file() and any(
        marker in metrics_path.read_text(encoding="utf-8") for marker in ('"event": "step"', '"event": "epoch"')
    )


if __name__ == "__main__":
    main()
