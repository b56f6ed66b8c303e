"""A rank of a training that is killed in the middle of an epoch, as often as torchrun starts it, where it is told to.

    torchrun --standalone --nproc-per-node 2 --max-restarts 2 tests/support/killed_rank.py \
        1:forward_backward:7,0:step:9 train …

The first attempt loses rank 1 before the backward pass of step 7 (from 0), the second one rank 0 before it applies the
gradients of step 9; the third one is left alone, as is each with `none`. A checkpoint is written after each step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ftlab.cli import main
from ftlab.training.checkpoints import checkpoint
from ftlab.training.devices import rank_environment
from ftlab.training.train_step import TrainStep


def kill_at(method_name: str, step: int) -> None:
    """Kill this process when a method of `TrainStep` is called for a step, its last argument."""
    method = getattr(TrainStep, method_name)

    def killing_method(train_step: TrainStep, *arguments: Any) -> Any:
        if arguments[-1] == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(train_step, *arguments)

    setattr(TrainStep, method_name, killing_method)


def obey(kills: str) -> None:
    """Prepare the kill of this attempt, if there is one and it concerns this rank."""
    attempt = rank_environment.get_restart_count()
    for number, kill in enumerate([] if kills == "none" else kills.split(",")):
        rank, method_name, step = kill.split(":")
        if number == attempt and rank == os.environ["RANK"]:
            kill_at(method_name, int(step))


if __name__ == "__main__":
    checkpoint.SAVE_INTERVAL_FACTOR, checkpoint.MID_EPOCH_SAVE_SECONDS = 0, 0.0
    obey(sys.argv[1])
    sys.exit(main.main(sys.argv[2:]))
