"""Speed targets on a GPU: `python -m benchmarks.gpu FOLDER`. Without a GPU it measures nothing, and says so.

Full fine-tuning of ResNet-50 from the second epoch on, against the same steps on data in memory, against the tutorial's
loop at its settings, and against a well-tuned DataLoader loop with the same batch size, plain and compiled; and a
frozen job of Caltech-101's size (8,700 files, 101 classes, default backbone), by the training's own clock, without the
start of the process. The images are cut from FOLDER's photographs; weights are random, only the time matters. Needs no
web page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import photographs, row
from benchmarks.many_pictures import time_training
from benchmarks.peers.job import compute_resize_side
from benchmarks.process import PROJECT_ROOT
from benchmarks.row import Measurement, report_at_least, report_at_most


@dataclass(frozen=True)
class GpuTarget:
    """A ratio that another benchmark measures.

    Attributes:
        name: name of the row here.
        min_ratio: smallest acceptable value.
        arguments: name and arguments of the benchmark.
    """

    name: str
    min_ratio: float
    arguments: tuple[str, ...]


_AGAINST_ARGUMENTS = ("against", "--mode", "full", "--from-second", "--random")
_FULL_TRAINING_NAME = "Full fine-tuning of {backbone} on a GPU,"
_EPOCH_NAME = f"{_FULL_TRAINING_NAME} an epoch, the first left out: speed relative to"
GPU_TARGETS = (
    GpuTarget(
        f"{_FULL_TRAINING_NAME} from the second epoch: speed relative to the same steps on data in memory",
        0.95,
        ("full_speed",),
    ),
    GpuTarget(f"{_EPOCH_NAME} the tutorial's loop", 8.0, (*_AGAINST_ARGUMENTS, "--peer", "tutorial")),
    GpuTarget(
        f"{_EPOCH_NAME} a well-tuned DataLoader loop",
        2.0,
        (*_AGAINST_ARGUMENTS, "--peer", "tuned"),
    ),
    GpuTarget(
        f"{_EPOCH_NAME} a well-tuned DataLoader loop, compiled",
        2.0,
        (*_AGAINST_ARGUMENTS, "--peer", "tuned", "--compile"),
    ),
)
_CALTECH_NAME = "Frozen training on 8,700 images on a GPU, without the start of the process"


def main() -> None:
    """Measure if there is a GPU, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=4000, help="of full fine-tuning; a fifth as many validate")
    parser.add_argument("--job", type=int, default=8700, help="pictures of the frozen job")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=224)
    # To test this program without a GPU; the measurements mean nothing then.
    parser.add_argument("--anywhere", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.anywhere):
        print("There is no CUDA device: what a GPU is to reach is not measured.", flush=True)
        for target in GPU_TARGETS:
            report_at_least(
                target.name.format(backbone=options.backbone), None, target.min_ratio, "×", "no CUDA device"
            )
        report_at_most(_CALTECH_NAME, None, 15, "s", "no CUDA device")
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "processor"
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        # Larger files than those of the frozen job: the size of ImageNet's photographs.
        for name, count in (("train", options.pictures), ("val", max(10, options.pictures // 5))):
            photographs.cut_photographs(options.folder, data / name, file_count=count, class_count=10, size=(500, 375))
        for target in GPU_TARGETS:
            measurement = _run_program(target, data, options)
            title = target.name.format(backbone=options.backbone)
            report_at_least(title, measurement.figure, target.min_ratio, "×", f"{measurement.seen}; {device}")
        caltech_folder = photographs.cut_photographs(
            options.folder, Path(scratch, "many"), file_count=options.job, class_count=101, size=(300, 200)
        )
        job_seconds = [
            time_training(caltech_folder, Path(scratch, f"home{index}"), [])["work"] for index in range(options.rounds)
        ]
        report_at_most(
            _CALTECH_NAME,
            statistics.median(job_seconds),
            15,
            "s",
            f"{options.job:,} files, {options.rounds} rounds; {device}",
        )


def _run_program(target: GpuTarget, data: Path, options: argparse.Namespace) -> Measurement:
    """Run a target's benchmark on `data`, print its other output, and return its row.

    Args:
        target: target to measure.
        data: folder of images.
        options: options of this program.

    Returns:
        The row that the benchmark printed.
    """
    name, *arguments = target.arguments
    arguments += [
        "--backbone",
        options.backbone,
        "--batch-size",
        str(options.batch_size),
        "--rounds",
        str(options.rounds),
    ]
    if name == "against":
        arguments += ["--epochs", str(options.epochs), "--side", str(options.side)]
    else:
        arguments += [
            "--settings",
            json.dumps({"image_size": options.side, "resize": compute_resize_side(options.side)}),
        ]
    command = [sys.executable, "-m", f"benchmarks.{name}", str(data), *arguments]
    completed = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    lines = completed.stdout.splitlines()
    print("\n".join(line for line in lines if not row.parse_measurement(line)), flush=True)
    # Exactly one row, else the benchmark has changed.
    (measurement,) = filter(None, map(row.parse_measurement, lines))
    return measurement


if __name__ == "__main__":
    main()
