"""What ftlab is measured against learns too, and says what it learnt in the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import drawn
import pytest
import torch

from benchmarks.peers import job, reference, tutorial
from benchmarks.process import ROOT
from ftlab.data import rendered

Peer = Callable[[Sequence[str]], None]
PEERS: dict[str, tuple[Peer, list[str]]] = {
    "tutorial": (tutorial.main, ["--batch-size", "8"]),
    "reference": (reference.main, ["--batch-size", "8", "--rate", "0.02"]),
    "tuned": (reference.main, ["--batch-size", "8", "--rate", "0.02", "--tuned"]),
}
SMALL = ("--backbone", "resnet18", "--mode", "full", "--random", "--side", "32", "--workers", "0")


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Drawn pictures of three colours, as peers want them: `train/` and `val/`."""
    for part in ("train", "val"):
        drawn.tiny(tmp_path / "halves" / part)
    return tmp_path / "halves"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return last


@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_learns_colours_and_tells_its_best_accuracy_and_its_seconds(
    name: str, halves: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    main, words = PEERS[name]
    main([str(halves), *SMALL, *words, "--epochs", "10"])
    last = told(capsys)
    assert last["best"] > 0.8, "of three classes"
    assert len(last["epoch_seconds"]) == 10
    assert 0 < sum(last["epoch_seconds"]) <= last["seconds"]
