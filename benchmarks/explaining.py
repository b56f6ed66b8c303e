"""Pace of `ftlab explain` for a folder, as a share of the pace of feature extraction from the same files.

    python -m benchmarks.explaining FOLDER --runs RUNS --rounds 3
    python -m benchmarks.explaining FOLDER --rounds 3 --against WORKTREE

Each round extracts features in this process and then runs the command: as it is for a folder (overlays and their page),
with `--figures`, and the figures of another commit, if a worktree of it is given. The pace of a command is taken from
the times at which its lines of JSON arrive, the first ones left out: the process starts, and torch answers until the
graph is built. The results are medians of the rounds' ratios. The newest run in RUNS classifies FOLDER, or, without
RUNS, the pretrained network: older commits cannot read the runs of newer ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch

from benchmarks import two_commits
from benchmarks.pipeline import choose_feature_engine, compute_features
from benchmarks.process import PROJECT_ROOT
from benchmarks.row import measure_seconds, report_at_least
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset import scan
from ftlab.inference.load_model import load_predictor
from ftlab.runs import run_store

SKIPPED_SHARE = 0.4
"""Share of a command's lines that are left out: those before the graph is built."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=1000, help="for the overlays and the features")
    parser.add_argument("--figures", type=int, default=70, help="pictures of which figures are drawn")
    two_commits.add_against_option(parser)
    parser.add_argument("--arguments", nargs="*", default=[], help="of `ftlab explain`, without their hyphens")
    options = parser.parse_args()
    torch.set_num_threads(count_cpu_cores())
    model = load_predictor(run_store.find_run(options.runs, "latest") if options.runs else None)
    image_catalog = scan.scan(options.folder, check=False)
    files = [image_catalog.image_path(item) for split in image_catalog.splits.values() for item in split]
    files = list(islice(cycle(files), options.pictures))
    engine = choose_feature_engine(model)
    arguments = [f"--{argument}" for argument in options.arguments]
    paces: dict[str, list[float]] = {}
    for round_index in range(options.rounds + 1):
        timings = {
            "features": len(files) / measure_seconds(partial(compute_features, engine, model.prep, files)),
            "overlays": measure_pace(PROJECT_ROOT, options.runs, files, arguments),
            "figures": measure_pace(PROJECT_ROOT, options.runs, files[: options.figures], ["--figures", *arguments]),
        }
        if options.against:
            timings["before"] = measure_pace(options.against, options.runs, files[: options.figures], arguments)
        if round_index:  # the first round warms up the file cache
            for name, pace in timings.items():
                paces.setdefault(name, []).append(pace)
    details = ", ".join(f"{name} {statistics.median(values):.3g}/s" for name, values in paces.items())
    details += f"; {len(files)} and {options.figures} pictures, {options.rounds} rounds, {count_cpu_cores()} threads"

    def compute_ratio(name: str, other_name: str) -> float:
        """Return the median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(paces[name], paces[other_name], strict=True))

    title = f"{model.spec.title}{''.join(' ' + argument for argument in arguments)}"
    name = f"Explaining a folder, {title}"
    report_at_least(
        f"{name}: overlays, of the features' pace", compute_ratio("overlays", "features"), 0.8, "×", details
    )
    report_at_least(f"{name}: figures, of the features' pace", compute_ratio("figures", "features"), None, "×", details)
    if options.against:
        report_at_least(f"{name}: figures, of the other commit's", compute_ratio("figures", "before"), 1, "×", details)
        report_at_least(f"{name}: overlays, of its figures", compute_ratio("overlays", "before"), 1, "×", details)


def measure_pace(worktree: Path, runs: Path | None, files: list[Path], arguments: list[str]) -> float:
    """Return the images per second of `ftlab explain`, once it is warm.

    Args:
        worktree: whose ftlab runs.
        runs: folder with the run; None for the pretrained network.
        files: to explain; some may be there more than once.
        arguments: further ones of the command.

    Returns:
        The pace.

    Raises:
        SystemExit: the command failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        folder.mkdir()
        for index, file in enumerate(files):
            (folder / f"{index:06d}{file.suffix}").symlink_to(file.absolute())
        command = [sys.executable, "-m", "ftlab", "explain"]
        command += ["latest", "--runs", str(runs.absolute())] if runs else ["default"]
        with subprocess.Popen(
            [*command, str(folder), "--out", f"{scratch}/out", "--json", *arguments],
            cwd=worktree,
            env={**os.environ, "PYTHONPATH": str(worktree)},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            times = [time.monotonic() for _ in process.stdout]
        if process.returncode or len(times) != len(files):
            raise SystemExit(f"{' '.join(command)} explained {len(times)} of {len(files)} pictures")
    skipped_count = int(SKIPPED_SHARE * len(times))
    return (len(times) - 1 - skipped_count) / (times[-1] - times[skipped_count])


if __name__ == "__main__":
    main()
