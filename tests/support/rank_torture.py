"""Trainings of two ranks that lose one in mid-epoch, again and again: torchrun starts both anew each time.

    python tests/support/rank_torture.py             20 kills, five a training; a table in Markdown
    python tests/support/rank_torture.py --kills 2   that many; --seed draws others, --json

A rank is killed before its backward pass, where the other one waits for its gradients, or before it applies them, where
the other one goes on. In the end weights, state and losses must be those of an undisturbed training of two ranks, to
the bit, and the run must be the same one throughout.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Started
from ftlab.runs.jobs.launch import build_environment
from tests.support import drawn_images

ROOT = Path(__file__).resolve().parents[2]
KILLS_PER_TRAINING = 5
EPOCHS, STEPS_PER_EPOCH = 3, 5
MAX_TRAINING_SECONDS = 600
PLACES = {"forward_backward": "before the backward pass", "step": "before the gradients are applied"}
TRAIN = (
    *("train", "--mode", "scratch", "--backbone", "timm/test_vit", "--optimizer", "adamw", "--schedule", "constant"),
    *(
        "--epochs",
        str(EPOCHS),
        "--batch-size",
        "4",
        "--torch-num-threads",
        "1",
        "--device",
        "cpu",
        "--ema-decay",
        "0.9",
    ),
)


@dataclass(frozen=True)
class Kill:
    """A rank that is killed at a step, counted from 0, in a method of `TrainStep`."""

    rank: int
    place: str
    step: int

    def __str__(self) -> str:
        return f"{self.rank}:{self.place}:{self.step}"


def draw_kills(count: int, dice: random.Random) -> list[Kill]:
    """Kills of one training, at later and later steps, none of them the first of an epoch."""
    inner_steps = [step for step in range(EPOCHS * STEPS_PER_EPOCH) if step % STEPS_PER_EPOCH]
    return [
        Kill(dice.randrange(2), dice.choice(list(PLACES)), step) for step in sorted(dice.sample(inner_steps, count))
    ]


class Bench:
    """Trainings on a few drawn pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pictures = folder, drawn_images.tiny(folder / "pictures")
        self.undisturbed = self.train("undisturbed", [])

    def train(self, name: str, kills: list[Kill]) -> Run:
        """Train with two ranks of torchrun, which restarts them after each kill."""
        runs, home = self.folder / name, self.folder / f"{name} home"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
        program = [str(ROOT / "tests" / "support" / "killed_rank.py"), ",".join(map(str, kills)) or "none"]
        words = [*TRAIN, "--data", str(self.pictures), "--runs", str(runs)]
        done = subprocess.run(
            [sys.executable, *launcher, "--max-restarts", str(len(kills)), *program, *words],
            capture_output=True,
            text=True,
            env=build_environment(FTLAB_HOME=str(home)),
            timeout=MAX_TRAINING_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        (run_name,) = run_store.list_run_names(runs)
        return Run(runs / run_name)

    def find_faults(self, run: Run, kills: list[Kill]) -> list[str]:
        """What differs from the undisturbed training, or is left."""
        weights, undisturbed_weights = (
            weights_file.load_tensors(one.best_weights_path)[0] for one in (run, self.undisturbed)
        )
        # The tensors: the file names the hash of `model.json`, in which the speed of timm's backbone is measured anew.
        is_identical = weights.keys() == undisturbed_weights.keys() and all(
            torch.equal(tensor, undisturbed_weights[key]) for key, tensor in weights.items()
        )
        faults = [] if is_identical else ["best weights"]
        if run.last_checkpoint_path.read_bytes() != self.undisturbed.last_checkpoint_path.read_bytes():
            faults.append("last state")
        losses, undisturbed_losses = (
            [(step.step, step.loss) for step in one.load_history().steps] for one in (run, self.undisturbed)
        )
        faults += ["losses"] if losses != undisturbed_losses else []
        starts = [event for event in run.read_events()[0] if isinstance(event, Started)]
        expected_steps = [0, *(kill.step for kill in kills)]
        # A checkpoint is written after each step, so that a restart goes on with the step of the kill.
        faults += (
            [f"starts at {[start.step for start in starts]}"] if [s.step for s in starts] != expected_steps else []
        )
        faults += ["not two ranks"] if {start.processes for start in starts} != {2} else []
        faults += ["not finished"] if run.liveness.get_status() != "finished" else []
        return faults


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    dice, rows, wrong = random.Random(chosen.seed), [], 0
    with tempfile.TemporaryDirectory(prefix="ftlab-ranks-") as folder:
        bench = Bench(Path(folder))
        for number in range(0, chosen.kills, KILLS_PER_TRAINING):
            kills = draw_kills(min(KILLS_PER_TRAINING, chosen.kills - number), dice)
            began = time.monotonic()
            faults = ", ".join(bench.find_faults(bench.train(str(number), kills), kills))
            seconds = time.monotonic() - began
            wrong += bool(faults)
            # All kills of a training lead to the same weights, or none is known to.
            rows += [(kill, seconds / len(kills), faults) for kill in kills]
    if chosen.json:
        print(json.dumps([{"kill": str(kill), "seconds": seconds, "faults": faults} for kill, seconds, faults in rows]))
    else:
        print("| kill | rank | step | where | seconds | identical afterwards |\n|---|---|---|---|---|---|")
        for number, (kill, seconds, faults) in enumerate(rows, start=1):
            print(
                f"| {number} | {kill.rank} | {kill.step} | {PLACES[kill.place]} | {seconds:.0f} | {faults or 'yes'} |"
            )
    return int(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
