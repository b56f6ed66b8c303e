"""Starts of frozen trainings against an older commit: with kept features, by a command and from the page, and cold.

    python -m benchmarks.kept_start FOLDER --against WORKTREE --backbone mobilenet_v2 --rounds 5

Three rows: the whole process of two epochs whose features are kept; the time from Start to the first point of the
curves, with a spare process here and, as the older commit starts it, by a new one; and the whole process of 25 epochs
with empty caches. Both sides have caches of their own, filled once before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import first_point, two_commits
from benchmarks.process import PROJECT_ROOT, run_python
from ftlab.config.backbones import DEFAULT_BACKBONE
from ftlab.config.train_config import TrainConfig
from ftlab.runs.jobs import warm_worker

COMMAND_MAX_RATIO, PAGE_MAX_RATIO, COLD_MAX_RATIO = 0.6, 0.35, 0.75
"""Largest acceptable times relative to the older commit."""
KEPT_EPOCHS, COLD_EPOCHS = 2, 25
_TIMEOUT_SECONDS, _POLL_SECONDS = 300.0, 0.005


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=("command", "page", "cold"), default=["command", "page", "cold"])
    two_commits.add_against_option(parser, required=True)
    options = parser.parse_args()
    data = options.folder.absolute()
    with tempfile.TemporaryDirectory() as scratch:
        measures = {
            "command": (
                "whole process, features kept", COMMAND_MAX_RATIO,
                partial(time_training, Path(scratch), data, options.backbone, KEPT_EPOCHS),
            ),
            "page": (
                "first point after Start, features kept", PAGE_MAX_RATIO,
                partial(time_first_point, Path(scratch), data, options.backbone),
            ),
            "cold": (
                f"whole process, {COLD_EPOCHS} epochs, cold", COLD_MAX_RATIO,
                partial(time_training, None, data, options.backbone, COLD_EPOCHS),
            ),
        }  # fmt: skip
        for row in options.rows:
            title, bound, measure = measures[row]
            values = two_commits.measure_in_turn(measure, options.against, options.rounds)
            name = f"Frozen {options.backbone}, {title}, relative to {two_commits.OLD_COMMIT}"
            two_commits.report_ratio(name, values, bound, values.describe("s"))
        warm_worker.SHARED_WORKER.discard()


def make_arguments(data: Path, backbone: str, epochs: int, runs: Path) -> list[str]:
    """Return the arguments of the interpreter for a frozen training, which both commits know."""
    arguments = ["-m", "ftlab", "train", "--data", str(data), "--mode", "frozen", "--backbone", backbone]
    return [*arguments, "--epochs", str(epochs), "--runs", str(runs), "--json"]


def get_home(scratch: Path, checkout: Path) -> Path:
    """Return the folder of a checkout's caches."""
    return scratch / ("home_new" if checkout == PROJECT_ROOT else "home_old")


def time_training(scratch: Path | None, data: Path, backbone: str, epochs: int, checkout: Path) -> float:
    """Return the seconds of a training, as a whole process.

    Args:
        scratch: parent of the caches that both checkouts keep; None for empty caches each time.
        data: folder of images.
        backbone: name of the backbone.
        epochs: number of epochs.
        checkout: whose training it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = get_home(scratch, checkout) if scratch else Path(folder, "home")
        arguments = make_arguments(data, backbone, epochs, Path(folder, "runs"))
        return run_python(arguments, checkout, FTLAB_HOME=str(home))[1]


def time_first_point(scratch: Path, data: Path, backbone: str, checkout: Path) -> float:
    """Return the seconds from Start to the first point: by a spare process here, by a new one in the older commit.

    Args:
        scratch: parent of the caches.
        data: folder of images.
        backbone: name of the backbone.
        checkout: whose training it is.

    Raises:
        TimeoutError: there is no point.
    """
    with tempfile.TemporaryDirectory() as folder:
        if checkout == PROJECT_ROOT:
            os.environ["FTLAB_HOME"] = str(get_home(scratch, checkout))
            first_point.prepare_spare_process()
            config = TrainConfig(data=str(data), mode="frozen", backbone=backbone, epochs=KEPT_EPOCHS)
            return first_point.measure_first_point(Path(folder, "runs"), config)
        command = [sys.executable, *make_arguments(data, backbone, KEPT_EPOCHS, Path(folder, "runs"))]
        environment = {**os.environ, "FTLAB_HOME": str(get_home(scratch, checkout))}
        start = time.perf_counter()
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=checkout, env=environment, stdout=quiet, stderr=quiet) as process:
            while not any(_has_point(file) for file in Path(folder).glob("runs/*/metrics.jsonl")):
                if time.perf_counter() - start > _TIMEOUT_SECONDS or process.poll() is not None:
                    raise TimeoutError(f"no point: {' '.join(command)}")
                time.sleep(_POLL_SECONDS)
            seconds = time.perf_counter() - start
            process.wait()
        return seconds


def _has_point(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return '"event": "step"' in text or '"event": "epoch"' in text


if __name__ == "__main__":
    main()
