"""Accuracy and time of the data audit: how many planted faults it finds, and how much else it reports.

    python -m benchmarks.doctor FOLDER --seeds 5

FOLDER has `train/` and `val/`, each with one folder per class. For each seed a copy of it gets 20 exact copies and 20
scaled and re-encoded ones, across splits, 10 swapped labels and 5 blank images; the first line is about the folder as
it is. `--clean` audits folders without faults: the sample sets, and drawings that are meant to be alike.
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

from benchmarks.planted import PlantedFaults, plant_faults
from ftlab.audit import examine
from ftlab.audit.findings import FINDING_KINDS, AuditReport
from ftlab.data.dataset import scan
from ftlab.data.samples import sample_sets


def run_audit(folder: Path) -> tuple[AuditReport, str]:
    """Audit a folder, with an ftlab home of its own, so that nothing is cached.

    Args:
        folder: folder of images.

    Returns:
        The report, and the time with scanning, as text: wall-clock seconds and seconds of a core.
    """
    with tempfile.TemporaryDirectory(prefix="ftlab-doctor-") as home:
        previous_home = os.environ.get("FTLAB_HOME")
        os.environ["FTLAB_HOME"] = home
        try:
            # Wall-clock time depends on other load, CPU time does not.
            start, cpu_start = time.monotonic(), time.process_time()
            *_, report = examine.audit_dataset(scan.scan(folder))
            seconds = f"{time.monotonic() - start:.1f} s ({time.process_time() - cpu_start:.1f} s of a core)"
        finally:
            os.environ.pop("FTLAB_HOME")
            if previous_home is not None:
                os.environ["FTLAB_HOME"] = previous_home
    assert isinstance(report, AuditReport)
    return report, seconds


def count_findings(report: AuditReport, planted: PlantedFaults) -> dict[str, tuple[int, int]]:
    """Return for each kind how many planted faults were found, and how many other findings there are.

    Args:
        report: report of the audit.
        planted: faults that it should find.
    """

    def collect_found(kind: str) -> set[frozenset[str]]:
        return {frozenset(image.path for image in finding.pictures) for finding in report.findings_of_kind(kind)}

    # Class imbalance concerns no single image, and is not planted.
    planted_groups = {kind: set[frozenset[str]]() for kind in FINDING_KINDS if kind != "imbalance"}
    planted_groups["exact"] = {frozenset(pair) for pair in planted.exact_copies.items()}
    planted_groups["near"] = {frozenset(pair) for pair in planted.near_copies.items()}
    planted_groups["label"] = {frozenset((image_path,)) for image_path in planted.swapped_images}
    planted_groups["blank"] = {frozenset((image_path,)) for image_path in planted.blank_images}
    return {
        kind: (len(collect_found(kind) & expected), len(collect_found(kind) - expected))
        for kind, expected in planted_groups.items()
    }


def draw_alike(folder: Path) -> Path:
    """Draw images that are alike without being copies: one shape per class on white, in 60 positions and sizes.

    Args:
        folder: folder to write to.

    Returns:
        `folder`.
    """
    rng = np.random.default_rng(0)
    for class_name in ("circle", "square", "cross"):
        (folder / class_name).mkdir(parents=True)
        for index in range(60):
            canvas = np.full((128, 128, 3), 255, np.uint8)
            x, y = (int(value) for value in rng.integers(32, 96, 2))
            size = int(rng.integers(10, 30))
            if class_name == "circle":
                cv2.circle(canvas, (x, y), size, (40, 80, 170), -1)
            elif class_name == "square":
                cv2.rectangle(canvas, (x - size, y - size), (x + size, y + size), (40, 80, 170), -1)
            else:
                cv2.line(canvas, (x - size, y), (x + size, y), (40, 80, 170), 6)
                cv2.line(canvas, (x, y - size), (x, y + size), (40, 80, 170), 6)
            Image.fromarray(canvas).save(folder / class_name / f"{index}.png")
    return folder


def main() -> None:
    """Plant, audit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftlab-planted-") as scratch:
        if options.clean:
            sample_folders = {name: sample_sets.ensure_sample_set(name) for name in ("shapes", "shortcut")}
            for name, folder in (sample_folders | {"alike": draw_alike(Path(scratch) / "alike")}).items():
                report, seconds = run_audit(folder)
                print(
                    name, report.looked, dict(Counter(finding.kind for finding in report.findings)), seconds, flush=True
                )
        if options.folder:
            report, seconds = run_audit(options.folder)
            print(
                "as it is",
                report.looked,
                dict(Counter(finding.kind for finding in report.findings)),
                seconds,
                flush=True,
            )
            for seed in range(options.seeds):
                planted = plant_faults(options.folder, Path(scratch) / str(seed), seed)
                report, seconds = run_audit(Path(scratch) / str(seed))
                counts = count_findings(report, planted)
                summary = "  ".join(
                    f"{kind} {found_count} +{false_count}" for kind, (found_count, false_count) in counts.items()
                )
                print(f"seed {seed}: {summary}  {seconds}", flush=True)


if __name__ == "__main__":
    main()
