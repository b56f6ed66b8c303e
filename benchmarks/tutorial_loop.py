"""Whole processes, ours against the loop of PyTorch's tutorial: `python -m benchmarks.tutorial_loop`.

    python -m benchmarks.tutorial_loop FOLDER --mode frozen --epochs 25 --rounds 3
    python -m benchmarks.tutorial_loop FOLDER --mode full --epochs 10 --backbone resnet18 --random

A and B in turn, with the same backbone, pictures and epochs; each begins with nothing kept from before. Ours has its
own settings for the mode, and looks once at each picture where it is frozen. `--random` begins with random weights,
where pretrained ones are not to be had: then only the time means something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.row import at_least

OURS = {"frozen": ["--mode", "frozen", "--feature-views", "1"], "full": ["--mode", "full"]}
WANTED = {("frozen", "mobilenet_v2"): 40.0, ("full", "mobilenet_v2"): 1.5, ("full", "resnet18"): 1.2}
"""Times as fast, by mode and backbone."""


def main() -> None:
    """Measure, and print a line of JSON a round and one in the end."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--mode", choices=tuple(OURS), default="frozen")
    asked.add_argument("--backbone", default="mobilenet_v2")
    asked.add_argument("--epochs", type=int, default=25)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--random", action="store_true", help="begin with random weights")
    options = asked.parse_args()
    rounds = []
    for seed in range(options.rounds):
        rounds.append({"ours": _ours(options, seed), "peer": _peer(options)})
        print(json.dumps(rounds[-1]), flush=True)
    medians = {who: statistics.median(one[who]["seconds"] for one in rounds) for who in ("ours", "peer")}
    accuracy = {who: statistics.median(one[who]["best"] for one in rounds) for who in ("ours", "peer")}
    seen = f"{medians['ours']:.1f} s and {medians['peer']:.0f} s, best validation {accuracy['ours']:.3f} and "
    seen += f"{accuracy['peer']:.3f}; {options.epochs} epochs, {options.rounds} rounds"
    what = f"{options.mode.capitalize()} {options.backbone}, whole process, times as fast as the tutorial's loop"
    at_least(what, medians["peer"] / medians["ours"], WANTED.get((options.mode, options.backbone), 1.0), "×", seen)


def _ours(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        words = ["-m", "ftlab", "train", *OURS[options.mode], "--data", str(options.folder.absolute()), "--json"]
        words += ["--backbone", options.backbone, "--epochs", str(options.epochs), "--seed", str(seed)]
        words += ["--mode", "scratch"] if options.random else []
        told, seconds = _timed([*words, "--runs", f"{scratch}/runs"], {"FTLAB_HOME": f"{scratch}/home"})
        return {"seconds": seconds, "best": told["best_val_accuracy"]}


def _peer(options: argparse.Namespace) -> dict[str, Any]:
    words = ["-m", "benchmarks.peers.tutorial", str(options.folder), "--mode", options.mode]
    words += ["--random"] if options.random else []
    told, seconds = _timed([*words, "--backbone", options.backbone, "--epochs", str(options.epochs)], {})
    return {"seconds": seconds, "best": told["best"]}


def _timed(words: list[str], places: dict[str, str]) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told, seconds


if __name__ == "__main__":
    main()
