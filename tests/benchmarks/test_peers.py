"""What ftlab is measured against learns too, and says what it learnt in the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import process
from benchmarks.peers import job, reference, tutorial
from ftlab.data.samples import sample_sets
from tests.support import drawn_images

Peer = Callable[[Sequence[str]], None]
PEERS: dict[str, tuple[Peer, list[str]]] = {
    "tutorial": (tutorial.main, ["--batch-size", "8"]),
    "reference": (reference.main, ["--batch-size", "8", "--rate", "0.003"]),
    "tuned": (reference.main, ["--batch-size", "8", "--rate", "0.003", "--tuned"]),
}
SMALL = ("--backbone", "resnet18", "--mode", "full", "--random", "--side", "32", "--workers", "0")


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Drawn pictures of three colours, as peers want them: `train/` and `val/`."""
    for part in ("train", "val"):
        drawn_images.tiny(tmp_path / "halves" / part)
    return tmp_path / "halves"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return last


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_learns_colours_and_tells_its_best_accuracy_and_its_seconds(
    name: str, halves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, words = PEERS[name]
    main([str(halves), *SMALL, *words, "--epochs", "15"])
    last = told(capsys)
    assert last["best"] > 0.8, "of three classes"
    assert len(last["epoch_seconds"]) == 15
    assert 0 < sum(last["epoch_seconds"]) <= last["seconds"]


def test_a_peer_runs_on_a_sample_set_with_processes_that_decode(
    session_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(session_home))
    words = ["--backbone", "resnet18", "--random", "--side", "32", "--epochs", "1", "--workers", "1", "--tuned"]
    last, seconds = process.run_python(["-m", reference.__name__, str(sample_sets.ensure_sample_set("shapes")), *words])
    assert 0 < last["best"] <= 1
    assert last["seconds"] < seconds


@pytest.mark.usefixtures("one_thread")
def test_an_average_of_the_weights_is_judged_in_the_place_of_the_newest(
    halves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(halves), *SMALL, *PEERS["reference"][1], "--epochs", "8", "--erase", "0.5"]
    reference.main(words)
    newest = told(capsys)["best"]
    reference.main([*words, "--ema", "0.999999"])
    assert told(capsys)["best"] < newest, "it has hardly moved from the start"


def test_a_frozen_peer_leaves_a_backbone_its_weights_and_gives_it_a_head_for_the_classes() -> None:
    options = Namespace(backbone="mobilenet_v2", mode="frozen", random=True)
    net = job.build_network(options, 7)
    assert [tuple(one.shape) for one in job.list_trainable_parameters(net)] == [(7, 1280), (7,)]
    options.mode = "full"
    assert len(job.list_trainable_parameters(job.build_network(options, 7))) == 158


def test_accuracy_is_the_share_of_pictures_named_rightly_in_batches_of_any_size() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    named = torch.eye(3)[torch.tensor([0, 1, 2, 1, 1])]
    batches = [(named[:4], labels[:4]), (named[4:], labels[4:])]
    assert job.compute_accuracy(torch.nn.Identity(), batches) == 4 / 5


def test_peers_know_nothing_of_ftlab_which_would_change_how_threads_wait() -> None:
    code = "import sys, benchmarks.peers.tutorial, benchmarks.peers.reference; sys.exit('ftlab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=process.PROJECT_ROOT).returncode == 0
