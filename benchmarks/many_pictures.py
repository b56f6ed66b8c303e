"""A job of Caltech-101's size, whole processes: the first, and later ones with another head, rate or seed of the head.

    python -m benchmarks.many_pictures FOLDER --rounds 3

8,700 files of about 300 × 200 pixels in 101 classes, cut from the photographs of FOLDER; the default backbone, frozen;
half to train on, a quarter each to validate and to test. The first process begins with nothing kept.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks import photographs
from benchmarks.process import last_line
from benchmarks.row import at_most

OTHERS = {
    "rate": ["--learning-rate", "3e-3"],
    "head": ["--head-hidden", "128"],
    "seed": ["--head-seed", "1"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=8700)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    first, later = [], []
    with tempfile.TemporaryDirectory() as scratch:
        data = photographs.cut(
            options.folder, Path(scratch, "data"), count=options.pictures, classes=101, size=(300, 200)
        )
        for number in range(options.rounds):
            home = Path(scratch, f"home{number}")
            first.append(trained(data, home, [])["seconds"])
            later += [trained(data, home, words)["seconds"] for words in OTHERS.values()]
    seen = f"{options.pictures:,} files, {options.rounds} rounds; " + ", ".join(
        f"{one:.1f} s" for one in [*first, *later]
    )
    at_most("Job of Caltech-101's size, whole process, first time", statistics.median(first), 90, "s", seen)
    at_most("The same with another rate, head or seed of the head, slowest", max(later), 10, "s", seen)


def trained(data: Path, home: Path, words: list[str]) -> dict[str, float]:
    """Seconds of a training, frozen, half to train on: of the whole process, and of its work, by its own clock."""
    command = ["-m", "ftlab", "train", "--data", str(data), "--val-share", "0.25", "--test-share", "0.25", *words]
    told, seconds = last_line([*command, "--json", "--runs", str(home / "runs")], FTLAB_HOME=str(home))
    assert told["reason"] == "finished"
    return {"seconds": seconds, "work": told["seconds"]}


if __name__ == "__main__":
    main()
