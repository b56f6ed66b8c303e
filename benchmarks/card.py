"""What a graphics card is to reach: `python -m benchmarks.card FOLDER`. Without one it measures nothing, and says so.

Full fine-tuning of ResNet-50 from the second epoch on, against the same steps on data in memory, the tutorial's loop at
its settings, and a well-tuned DataLoader loop at the same batch, plain and compiled; and a frozen job of
Caltech-101's size (8,700 files, 101 classes, default backbone), by the training's own clock: without the start of the
process. The pictures are cut from FOLDER's photographs; weights are random, time is what counts. No page is needed.
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
from benchmarks.many_pictures import trained
from benchmarks.peers.job import shorter
from benchmarks.process import ROOT
from benchmarks.row import Row, at_least, at_most


@dataclass(frozen=True)
class Part:
    """A figure that another program measures: what it is called here, the least that is good, and the words."""

    what: str
    wanted: float
    words: tuple[str, ...]


_EPOCHS = ("against", "--mode", "full", "--from-second", "--random")
_FULL = "On a card: full {backbone}, an epoch from the second on,"
PARTS = (
    Part(f"{_FULL} by the same steps on data in memory", 0.95, ("full_speed",)),
    Part(f"{_FULL} times as fast as the tutorial's loop", 8.0, (*_EPOCHS, "--peer", "tutorial")),
    Part(f"{_FULL} times as fast as a well-tuned DataLoader loop", 2.0, (*_EPOCHS, "--peer", "tuned")),
    Part(f"{_FULL} times as fast as a tuned loop, compiled", 2.0, (*_EPOCHS, "--peer", "tuned", "--compile")),
)
_CALTECH = "On a card: frozen job of Caltech-101's size, after the start of its process"


def main() -> None:
    """Measure where there is a card, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=4000, help="of full fine-tuning; a fifth as many validate")
    parser.add_argument("--job", type=int, default=8700, help="pictures of the frozen job")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=224)
    # For trying whether all goes its way, where there is no card: the figures mean nothing then.
    parser.add_argument("--anywhere", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.anywhere):
        print("There is no CUDA device: what a card is to reach is not measured.", flush=True)
        for part in PARTS:
            at_least(part.what.format(backbone=options.backbone), None, part.wanted, "×", "no CUDA device")
        at_most(_CALTECH, None, 15, "s", "no CUDA device")
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "processor"
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        for name, count in (("train", options.pictures), ("val", max(10, options.pictures // 5))):
            photographs.cut(options.folder, data / name, count=count, classes=10, size=(500, 375))
        for part in PARTS:
            found = _measured(part, data, options)
            what = part.what.format(backbone=options.backbone)
            at_least(what, found.figure, part.wanted, "×", f"{found.seen}; {device}")
        many = photographs.cut(options.folder, Path(scratch, "many"), count=options.job, classes=101, size=(300, 200))
        took = [trained(many, Path(scratch, f"home{number}"), [])["work"] for number in range(options.rounds)]
        at_most(_CALTECH, statistics.median(took), 15, "s", f"{options.job:,} files, {options.rounds} rounds; {device}")


def _measured(part: Part, data: Path, options: argparse.Namespace) -> Row:
    """The row that the part's program prints; what else it prints is printed."""
    name, *words = part.words
    words += ["--backbone", options.backbone, "--batch-size", str(options.batch_size), "--rounds", str(options.rounds)]
    if name == "against":
        words += ["--epochs", str(options.epochs), "--side", str(options.side)]
    else:
        words += ["--knobs", json.dumps({"side": options.side, "resize": shorter(options.side)})]
    command = [sys.executable, "-m", f"benchmarks.{name}", str(data), *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    print("\n".join(line for line in lines if not row.of_line(line)), flush=True)
    (found,) = filter(None, map(row.of_line, lines))
    return found


if __name__ == "__main__":
    main()
