"""Whole processes, ours against the loop of PyTorch's tutorial: `python -m benchmarks.tutorial_loop`.

    FTLAB_TEST_DATA=folder python -m benchmarks.tutorial_loop --mode frozen --epochs 25 --rounds 3

A and B in turn, with the same backbone, pictures and epochs; each begins with nothing kept from before. Prints seconds
of each round, the ratio of the medians, and the best validation accuracy of both.
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

OURS = {"frozen": ["--recipe", "ants-bees-frozen-cached"], "full": ["--mode", "full"]}


def main() -> None:
    """Measure, and print a line of JSON a round and one in the end."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--mode", choices=tuple(OURS), default="frozen")
    asked.add_argument("--backbone", default="mobilenet_v2")
    asked.add_argument("--epochs", type=int, default=25)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    home = Path(os.environ["FTLAB_TEST_DATA"])
    rounds = []
    for seed in range(options.rounds):
        rounds.append({"ours": _ours(options, home, seed), "peer": _peer(options, home)})
        print(json.dumps(rounds[-1]), flush=True)
    medians = {who: statistics.median(one[who]["seconds"] for one in rounds) for who in ("ours", "peer")}
    accuracy = {who: statistics.median(one[who]["best"] for one in rounds) for who in ("ours", "peer")}
    print(json.dumps({"ratio": medians["peer"] / medians["ours"], "seconds": medians, "best": accuracy}))


def _ours(options: argparse.Namespace, home: Path, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        words = ["-m", "ftlab", "train", *OURS[options.mode], "--data", str(home / "data/hymenoptera"), "--json"]
        words += ["--backbone", options.backbone, "--epochs", str(options.epochs), "--seed", str(seed)]
        told, seconds = _timed([*words, "--runs", f"{scratch}/runs"], home, {"FTLAB_HOME": f"{scratch}/home"})
        return {"seconds": seconds, "best": told["best_val_accuracy"]}


def _peer(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    words = ["-m", "benchmarks.peers.tutorial", str(home / "data/hymenoptera"), "--mode", options.mode]
    told, seconds = _timed([*words, "--backbone", options.backbone, "--epochs", str(options.epochs)], home, {})
    return {"seconds": seconds, "best": told["best"]}


def _timed(words: list[str], home: Path, places: dict[str, str]) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "TORCH_HOME": str(home / "torch_home"), **places},
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
