"""ftlab against what a person would run instead: `python -m benchmarks.against`.

    python -m benchmarks.against FOLDER --mode frozen --epochs 25 --rounds 3
    python -m benchmarks.against FOLDER --mode full --epochs 10 --backbone resnet18 --random
    python -m benchmarks.against FOLDER --mode full --epochs 10 --peer tuned --batch-size 32
    python -m benchmarks.against FOLDER --peer fastai --peer-mode full --peer-epochs 3 --until 0.95

Whole processes in turn, with the same backbone, images and epochs; each starts with empty caches. ftlab has its own
settings for the mode, with one cached view per image in frozen mode; the peer has its own too (benchmarks/peers/).
`--batch-size` is for ftlab and for peers other than the tutorial's loop, which keeps its 4. `--from-second` measures an
epoch with its validation, the first left out, instead of the whole process; `--until` the time from the start of the
process to the end of the first epoch with that validation accuracy, each side by its own way: `--peer-mode` and
`--peer-epochs` may differ from ours. fastai has to be installed (docs/benchmarks.md). `--random` starts from random
weights, where pretrained ones are not available: then only the time means something.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import packages
from benchmarks.peers.job import compute_resize_side
from benchmarks.process import run_python
from benchmarks.row import report_at_least
from ftlab.runs.directory import Run

FTLAB_ARGUMENTS = {"frozen": ["--mode", "frozen", "--cached-views", "1"], "full": ["--mode", "full"]}
"""Arguments of ftlab, by mode."""
PEER_ARGUMENTS = {
    "tutorial": ["tutorial"],
    "reference": ["reference"],
    "tuned": ["reference", "--tuned"],
    "fastai": ["fastai_learner"],
}
"""Module in `benchmarks.peers` and its arguments, by peer."""
PEER_TITLES = {
    "tutorial": "the tutorial's loop",
    "reference": "a loop after torchvision's reference",
    "tuned": "a well-tuned DataLoader loop",
    "fastai": "fastai",
}
PEER_PACKAGES = {"fastai": ("fastai", "fastai==2.8.12")}
"""Modules and requirements of peers that are packages of their own."""
MIN_SPEEDUPS = {
    ("frozen", "mobilenet_v2", "tutorial"): 40.0,
    ("full", "mobilenet_v2", "tutorial"): 1.5,
    ("full", "resnet18", "tutorial"): 1.2,
}
"""Smallest acceptable speed-up of the whole process, by mode, backbone and peer."""


def main() -> None:
    """Measure; print a line of JSON per round and the row at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", choices=tuple(PEER_ARGUMENTS), default="tutorial")
    parser.add_argument("--mode", choices=tuple(FTLAB_ARGUMENTS), default="frozen")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--side", type=int, default=224, help="of the pictures that the networks see, in pixels")
    parser.add_argument("--compile", action="store_true", help="the peer's network is compiled; ours decides itself")
    parser.add_argument("--from-second", action="store_true", help="an epoch, the first left out")
    parser.add_argument("--until", type=float, metavar="ACCURACY", help="seconds until that validation accuracy")
    parser.add_argument("--peer-mode", choices=tuple(FTLAB_ARGUMENTS), help="of the peer, if not the same")
    parser.add_argument("--peer-epochs", type=int, help="of the peer, if not as many")
    parser.add_argument("--random", action="store_true", help="begin with random weights")
    options = parser.parse_args()
    if options.random and options.mode == "frozen":
        parser.error("--random needs --mode full: a frozen network of random weights is not what anybody trains")
    if options.compile and options.peer == "tutorial":
        parser.error("--compile needs another --peer: the tutorial's loop compiles nothing")
    if options.from_second and options.epochs < 2:
        parser.error("--from-second needs at least two --epochs")
    if options.compile and options.peer == "fastai":
        parser.error("--compile needs another --peer: fastai compiles nothing")
    missing = packages.describe_missing(*PEER_PACKAGES.get(options.peer, ("torch", "")))
    if missing:
        report_at_least(_make_title(options), None, None, "×", missing)
        return
    rounds = []
    for seed in range(options.rounds):
        # In turn, so that a slow phase of the machine hits both.
        rounds.append({"ours": _run_ftlab(options, seed), "peer": _run_peer(options)})
        print(json.dumps(rounds[-1]), flush=True)
    medians = {
        program: statistics.median(result[program]["seconds"] for result in rounds) for program in ("ours", "peer")
    }
    accuracies = {
        program: statistics.median(result[program]["best"] for result in rounds) for program in ("ours", "peer")
    }
    details = f"{medians['ours']:.3g} s and {medians['peer']:.3g} s, best validation {accuracies['ours']:.3f} and "
    details += f"{accuracies['peer']:.3f}; {options.epochs} epochs, {options.rounds} rounds"
    details += f", batches of {options.batch_size}" if options.batch_size else ""
    details += ", random weights" if options.random else ""
    late_programs = [
        PEER_TITLES[options.peer] if name == "peer" else "ftlab" for name in medians if math.isinf(medians[name])
    ]
    if late_programs:
        details = f"{' and '.join(late_programs)} did not reach {options.until:g}; {details}"
        report_at_least(_make_title(options), None, None, "×", details)
        return
    is_partial = options.from_second or options.until is not None
    min_speedup = None if is_partial else MIN_SPEEDUPS.get((options.mode, options.backbone, options.peer))
    report_at_least(_make_title(options), medians["peer"] / medians["ours"], min_speedup, "×", details)


def _make_title(options: argparse.Namespace) -> str:
    """Return the title of the row."""
    scope = "an epoch, the first left out" if options.from_second else "whole process"
    scope = f"until validation accuracy {options.until:g}" if options.until is not None else scope
    peer = PEER_TITLES[options.peer] + (", compiled" if options.compile else "")
    training = "Training of a frozen" if options.mode == "frozen" else "Full fine-tuning of"
    return f"{training} {options.backbone}, {scope}: speed relative to {peer}"


def _run_ftlab(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return seconds and best validation accuracy of an ftlab training."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [
            "-m",
            "ftlab",
            "train",
            *FTLAB_ARGUMENTS[options.mode],
            "--data",
            str(options.folder.absolute()),
            "--json",
        ]
        arguments += ["--backbone", options.backbone, "--epochs", str(options.epochs), "--seed", str(seed)]
        # The last `--mode` wins.
        arguments += ["--mode", "scratch"] if options.random else []
        arguments += ["--batch-size", str(options.batch_size)] if options.batch_size else []
        arguments += ["--image-size", str(options.side), "--resize", str(compute_resize_side(options.side))]
        start_time = time.time()
        result, seconds = run_python([*arguments, "--runs", f"{scratch}/runs"], FTLAB_HOME=f"{scratch}/home")
        # Epoch 0 is the evaluation before training.
        epochs = [epoch for epoch in Run(Path(result["path"])).load_history().epochs if epoch.epoch]
        if options.until is not None:
            ends = [(epoch.val_accuracy or 0.0, epoch.time) for epoch in epochs]
            seconds = _find_time_until(options.until, ends, start_time)
        if options.from_second:
            epoch_ends = [epoch.time for epoch in epochs]
            seconds = statistics.mean(after - before for before, after in pairwise(epoch_ends))
        return {"seconds": seconds, "best": result["best_val_accuracy"]}


def _run_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds and best validation accuracy of a peer's training."""
    program, *arguments = PEER_ARGUMENTS[options.peer]
    arguments += ["--mode", options.peer_mode or options.mode, "--backbone", options.backbone]
    arguments += ["--epochs", str(options.peer_epochs or options.epochs)]
    arguments += ["--random"] if options.random else []
    arguments += ["--compile"] if options.compile else []
    arguments += ["--side", str(options.side)]
    # The tutorial's batches of 4 are part of what it is.
    if options.batch_size and options.peer != "tutorial":
        arguments += ["--batch-size", str(options.batch_size)]
    start_time = time.time()
    result, seconds = run_python(["-m", f"benchmarks.peers.{program}", str(options.folder.absolute()), *arguments])
    if options.until is not None:
        ends = list(zip(result["epoch_accuracies"], result["epoch_end_times"], strict=True))
        seconds = _find_time_until(options.until, ends, start_time)
    if options.from_second:
        # The first epoch starts the workers, and warms up.
        seconds = statistics.mean(result["epoch_seconds"][1:])
    return {"seconds": seconds, "best": result["best"]}


def _find_time_until(accuracy: float, epoch_ends: Sequence[tuple[float, float]], start_time: float) -> float:
    """Return the seconds until a validation accuracy was reached; infinite if it never was.

    Args:
        accuracy: in [0, 1].
        epoch_ends: accuracy and end time of each epoch.
        start_time: when the process was started, by the same clock.
    """
    return next((end - start_time for reached, end in epoch_ends if reached >= accuracy), math.inf)


if __name__ == "__main__":
    main()
