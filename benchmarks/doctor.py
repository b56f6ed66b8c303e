"""How well the doctor finds what was planted, how much it suspects that was not, and how long it takes.

    python -m benchmarks.doctor FOLDER --seeds 5

FOLDER has `train/` and `val/` with a folder a class in each. For each seed a copy of it gets 20 exact copies, 20
that were scaled and saved anew, across splits, 10 swapped labels and 5 blank pictures; the first line is of the folder
as it is. `--clean` examines what has no faults: the sample sets, and drawings that are meant to be alike.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.planted import Planted, plant
from ftlab.audit import examine
from ftlab.audit.findings import KINDS, Report
from ftlab.data.dataset import catalog
from ftlab.data.samples import sample_sets


def examined(folder: Path) -> tuple[Report, str]:
    """The report, and what it took with scanning the folder, in a home of its own: seconds, and seconds of a core."""
    with tempfile.TemporaryDirectory(prefix="ftlab-doctor-") as home:
        before = os.environ.get("FTLAB_HOME")
        os.environ["FTLAB_HOME"] = home
        try:
            begun, worked = time.monotonic(), time.process_time()
            *_, report = examine.examine(catalog.scan(folder))
            seconds = f"{time.monotonic() - begun:.1f} s ({time.process_time() - worked:.1f} s of a core)"
        finally:
            os.environ.pop("FTLAB_HOME")
            if before is not None:
                os.environ["FTLAB_HOME"] = before
    assert isinstance(report, Report)
    return report, seconds


def counted(report: Report, planted: Planted) -> dict[str, tuple[int, int]]:
    """By kind: how many of the planted were found, and how many others were named."""

    def found(kind: str) -> set[frozenset[str]]:
        return {frozenset(one.path for one in each.pictures) for each in report.of(kind)}

    there = {kind: set[frozenset[str]]() for kind in KINDS if kind != "imbalance"}
    there["exact"] = {frozenset(pair) for pair in planted.exact.items()}
    there["near"] = {frozenset(pair) for pair in planted.near.items()}
    there["label"] = {frozenset((one,)) for one in planted.swapped}
    there["blank"] = {frozenset((one,)) for one in planted.blank}
    return {kind: (len(found(kind) & meant), len(found(kind) - meant)) for kind, meant in there.items()}


def alike(folder: Path) -> Path:
    """Drawings that are alike without being copies: one shape a class on white, in 60 places and sizes."""
    dice = np.random.default_rng(0)
    for name in ("circle", "square", "cross"):
        (folder / name).mkdir(parents=True)
        for index in range(60):
            page = np.full((128, 128, 3), 255, np.uint8)
            x, y = (int(one) for one in dice.integers(32, 96, 2))
            size = int(dice.integers(10, 30))
            if name == "circle":
                cv2.circle(page, (x, y), size, (40, 80, 170), -1)
            elif name == "square":
                cv2.rectangle(page, (x - size, y - size), (x + size, y + size), (40, 80, 170), -1)
            else:
                cv2.line(page, (x - size, y), (x + size, y), (40, 80, 170), 6)
                cv2.line(page, (x, y - size), (x, y + size), (40, 80, 170), 6)
            Image.fromarray(page).save(folder / name / f"{index}.png")
    return folder


def main() -> None:
    """Plant, examine, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftlab-planted-") as scratch:
        if options.clean:
            sets = {name: sample_sets.ensure(name) for name in ("shapes", "shortcut")}
            for name, folder in (sets | {"alike": alike(Path(scratch) / "alike")}).items():
                report, seconds = examined(folder)
                print(name, report.looked, dict(Counter(one.kind for one in report.findings)), seconds, flush=True)
        if options.folder:
            report, seconds = examined(options.folder)
            print("as it is", report.looked, dict(Counter(one.kind for one in report.findings)), seconds, flush=True)
            for seed in range(options.seeds):
                planted = plant(options.folder, Path(scratch) / str(seed), seed)
                report, seconds = examined(Path(scratch) / str(seed))
                table = counted(report, planted)
                said = "  ".join(f"{kind} {found} +{others}" for kind, (found, others) in table.items())
                print(f"seed {seed}: {said}  {seconds}", flush=True)


if __name__ == "__main__":
    main()
