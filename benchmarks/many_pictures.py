"""A job of Caltech-101's size as whole processes: a first run, and later ones with another head, rate or head seed.

    python -m benchmarks.many_pictures FOLDER --rounds 3

8,700 files of about 300 × 200 pixels in 101 classes, cut from the photographs of FOLDER; default backbone, frozen; half
of them for training, a quarter each for validation and test. The first process starts with empty caches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks import photographs
from benchmarks.process import run_python
from benchmarks.row import report_at_most

VARIANT_ARGUMENTS = {
    "rate": ["--learning-rate", "3e-3"],
    "head": ["--head-hidden", "128"],
    "seed": ["--head-seed", "1"],
}
"""Arguments of the later runs, which reuse cached features."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=8700)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    first_seconds, later_seconds = [], []
    with tempfile.TemporaryDirectory() as scratch:
        data = photographs.cut_photographs(
            options.folder, Path(scratch, "data"), file_count=options.pictures, class_count=101, size=(300, 200)
        )
        for round_index in range(options.rounds):
            # A new home for each round: the first job of a round must find empty caches.
            home = Path(scratch, f"home{round_index}")
            first_seconds.append(time_training(data, home, [])["seconds"])
            later_seconds += [
                time_training(data, home, arguments)["seconds"] for arguments in VARIANT_ARGUMENTS.values()
            ]
    details = f"{options.pictures:,} files, {options.rounds} rounds; " + ", ".join(
        f"{duration:.1f} s" for duration in [*first_seconds, *later_seconds]
    )
    report_at_most(
        "Frozen training on 8,700 images (the size of Caltech-101), first time: whole process",
        statistics.median(first_seconds),
        90,
        "s",
        details,
    )
    report_at_most(
        "Frozen training on the same images with another learning rate, head or seed: slowest",
        max(later_seconds),
        10,
        "s",
        details,
    )


def time_training(data: Path, home: Path, arguments: list[str]) -> dict[str, float]:
    """Return the seconds of a frozen training on half of the images, of the whole process and by its own clock.

    Args:
        data: folder of images.
        home: ftlab's home folder, with its caches.
        arguments: further arguments of `ftlab train`.

    Returns:
        `seconds` of the process, and `work` without its start.
    """
    command = ["-m", "ftlab", "train", "--data", str(data), "--val-share", "0.25", "--test-share", "0.25", *arguments]
    result, seconds = run_python([*command, "--json", "--runs", str(home / "runs")], FTLAB_HOME=str(home))
    assert result["reason"] == "finished"
    return {"seconds": seconds, "work": result["seconds"]}


if __name__ == "__main__":
    main()
