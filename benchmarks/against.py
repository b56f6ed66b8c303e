"""Ours against what a person would run instead: `python -m benchmarks.against`.

    python -m benchmarks.against FOLDER --mode frozen --epochs 25 --rounds 3
    python -m benchmarks.against FOLDER --mode full --epochs 10 --backbone resnet18 --random
    python -m benchmarks.against FOLDER --mode full --epochs 10 --peer tuned --batch-size 32

Whole processes, A and B in turn, with the same backbone, pictures and epochs; each begins with nothing kept from
before. Ours has its own settings for the mode, and looks once at each picture where it is frozen; so has the peer
(benchmarks/peers/). `--batch-size` is ours and that of a peer other than the tutorial's loop, which keeps its 4.
`--from-second` takes an epoch with its validation, the first left out, in place of the whole. `--random` begins with
random weights, where pretrained ones are not to be had: then only the time means something.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.peers.job import shorter
from benchmarks.process import last_line
from benchmarks.row import at_least
from ftlab.runs.directory import Run

OURS = {"frozen": ["--mode", "frozen", "--feature-views", "1"], "full": ["--mode", "full"]}
PEERS = {"tutorial": ["tutorial"], "reference": ["reference"], "tuned": ["reference", "--tuned"]}
TITLES = {
    "tutorial": "the tutorial's loop",
    "reference": "a loop after torchvision's reference",
    "tuned": "a well-tuned DataLoader loop",
}
WANTED = {
    ("frozen", "mobilenet_v2", "tutorial"): 40.0,
    ("full", "mobilenet_v2", "tutorial"): 1.5,
    ("full", "resnet18", "tutorial"): 1.2,
}
"""Times as fast as a whole process, by mode, backbone and peer."""


def main() -> None:
    """Measure, and print a line of JSON a round and one in the end."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--peer", choices=tuple(PEERS), default="tutorial")
    asked.add_argument("--mode", choices=tuple(OURS), default="frozen")
    asked.add_argument("--backbone", default="mobilenet_v2")
    asked.add_argument("--epochs", type=int, default=25)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--batch-size", type=int)
    asked.add_argument("--side", type=int, default=224, help="of the pictures that the networks see, in pixels")
    asked.add_argument("--compile", action="store_true", help="the peer's network is compiled; ours decides itself")
    asked.add_argument("--from-second", action="store_true", help="an epoch, the first left out")
    asked.add_argument("--random", action="store_true", help="begin with random weights")
    options = asked.parse_args()
    if options.random and options.mode == "frozen":
        asked.error("--random needs --mode full: a frozen network of random weights is not what anybody trains")
    if options.compile and options.peer == "tutorial":
        asked.error("--compile needs another --peer: the tutorial's loop compiles nothing")
    if options.from_second and options.epochs < 2:
        asked.error("--from-second needs at least two --epochs")
    rounds = []
    for seed in range(options.rounds):
        rounds.append({"ours": _ours(options, seed), "peer": _peer(options)})
        print(json.dumps(rounds[-1]), flush=True)
    medians = {who: statistics.median(one[who]["seconds"] for one in rounds) for who in ("ours", "peer")}
    accuracy = {who: statistics.median(one[who]["best"] for one in rounds) for who in ("ours", "peer")}
    seen = f"{medians['ours']:.3g} s and {medians['peer']:.3g} s, best validation {accuracy['ours']:.3f} and "
    seen += f"{accuracy['peer']:.3f}; {options.epochs} epochs, {options.rounds} rounds"
    seen += f", batches of {options.batch_size}" if options.batch_size else ""
    seen += ", random weights" if options.random else ""
    part = "an epoch from the second on" if options.from_second else "whole process"
    title = TITLES[options.peer] + (", compiled" if options.compile else "")
    wanted = None if options.from_second else WANTED.get((options.mode, options.backbone, options.peer))
    what = f"{options.mode.capitalize()} {options.backbone}, {part}, times as fast as {title}"
    at_least(what, medians["peer"] / medians["ours"], wanted, "×", seen)


def _ours(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        words = ["-m", "ftlab", "train", *OURS[options.mode], "--data", str(options.folder.absolute()), "--json"]
        words += ["--backbone", options.backbone, "--epochs", str(options.epochs), "--seed", str(seed)]
        words += ["--mode", "scratch"] if options.random else []
        words += ["--batch-size", str(options.batch_size)] if options.batch_size else []
        words += ["--side", str(options.side), "--resize", str(shorter(options.side))]
        told, seconds = last_line([*words, "--runs", f"{scratch}/runs"], FTLAB_HOME=f"{scratch}/home")
        if options.from_second:
            ends = [epoch.time for epoch in Run(Path(told["path"])).history().epochs if epoch.epoch]
            seconds = statistics.mean(after - before for before, after in pairwise(ends))
        return {"seconds": seconds, "best": told["best_val_accuracy"]}


def _peer(options: argparse.Namespace) -> dict[str, Any]:
    program, *words = PEERS[options.peer]
    words += ["--mode", options.mode, "--backbone", options.backbone, "--epochs", str(options.epochs)]
    words += ["--random"] if options.random else []
    words += ["--compile"] if options.compile else []
    words += ["--side", str(options.side)]
    if options.batch_size and options.peer != "tutorial":
        words += ["--batch-size", str(options.batch_size)]
    told, seconds = last_line(["-m", f"benchmarks.peers.{program}", str(options.folder.absolute()), *words])
    if options.from_second:
        seconds = statistics.mean(told["epoch_seconds"][1:])
    return {"seconds": seconds, "best": told["best"]}


if __name__ == "__main__":
    main()
