"""Several processes, as torchrun starts them, learn what one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from ftlab import runs
from ftlab.events import Started
from ftlab.jobs.worker import environment
from ftlab.runs import Run
from ftlab.training import sealed

TRAIN = ("-m", "ftlab", "train", "--features", "fresh", "--epochs", "2", "--batch-size", "4", "--threads", "1")
RENDEZVOUS = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")  # a free port


def trained(pictures: Path, folder: Path, *launcher: str) -> Run:
    command = [sys.executable, *launcher, *TRAIN, "--device", "cpu", "--data", str(pictures), "--runs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Epoch   2 ") == 1, "one of them speaks"
    (name,) = runs.names(folder)
    return Run(folder / name)


def test_two_processes_learn_what_one_does(tiny_folder: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1", *RENDEZVOUS)
    alone = trained(tiny_folder, tmp_path / "alone")
    both = trained(tiny_folder, tmp_path / "both", *torchrun)
    assert (alone.read("config.json")["processes"], both.read("config.json")["processes"]) == (1, 2)
    one, two = (sealed.load(run.last)[0] for run in (alone, both))
    for key in ("module.weight", "module.bias"):
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-6)
    best = sealed.load(alone.best)[0], sealed.load(both.best)[0]
    assert all(torch.equal(best[0][key], best[1][key]) for key in best[0] if key.startswith("backbone."))

    assert not both.alive()
    assert both.status() == "finished"
    assert len([event for event in both.tail()[0] if isinstance(event, Started)]) == 1
    for left, right in zip(alone.history().epochs, both.history().epochs, strict=True):
        assert (left.train_accuracy, left.val_accuracy) == (right.train_accuracy, right.val_accuracy)
        assert abs((left.val_loss or 0) - (right.val_loss or 0)) < 1e-6
