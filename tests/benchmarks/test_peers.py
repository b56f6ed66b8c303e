"""What ftlab is measured against learns too, and says what it learnt in the same words."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import process
from benchmarks.peers import heat_maps, job, reference, tutorial
from ftlab.data.samples import sample_sets
from ftlab.data.samples.sample_sets import SampleSet
from tests.support import drawn_images

Peer = Callable[[Sequence[str]], None]
PEERS: dict[str, tuple[Peer, list[str]]] = {
    "tutorial": (tutorial.main, ["--batch-size", "8"]),
    "reference": (reference.main, ["--batch-size", "8", "--rate", "0.003", "--erase", "0.5"]),
    "tuned": (reference.main, ["--batch-size", "8", "--rate", "0.003", "--tuned"]),
}
SMALL = ("--backbone", "resnet18", "--mode", "full", "--random", "--side", "32", "--workers", "0")


EPOCHS = 7
Trainings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """What a peer, by its name and with more words, tells in the end of a training, which it does once, on drawn
    pictures of three colours, as peers want them: `train/` and `val/`."""
    folder = tmp_path_factory.mktemp("halves")
    for part in ("train", "val"):
        drawn_images.tiny(folder / part)

    @functools.cache
    def train(name: str, *more: str) -> dict[str, Any]:
        main, words = PEERS[name]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            main([str(folder), *SMALL, *words, "--epochs", str(EPOCHS), *more])
        last: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
        return last

    return train


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_learns_colours_and_tells_its_best_accuracy_and_its_seconds(name: str, told: Trainings) -> None:
    last = told(name)
    assert last["best"] > 0.8, "of three classes"
    assert len(last["epoch_seconds"]) == EPOCHS
    assert 0 < sum(last["epoch_seconds"]) <= last["seconds"]


def test_a_peer_runs_on_a_sample_set_with_processes_that_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sample_sets.SAMPLE_SETS, "few", SampleSet(("fish", "mug"), (4, 4, 1), (0.6, 0.6), {}))
    words = ["--backbone", "resnet18", "--random", "--side", "32", "--epochs", "1", "--workers", "1", "--tuned"]
    last, seconds = process.run_python(["-m", reference.__name__, str(sample_sets.ensure_sample_set("few")), *words])
    assert 0 < last["best"] <= 1
    assert last["seconds"] < seconds


@pytest.mark.usefixtures("one_thread")
def test_a_peer_tells_the_accuracy_and_the_end_of_each_epoch(told: Trainings) -> None:
    last = told("tuned")
    assert len(last["epoch_accuracies"]) == EPOCHS
    assert max(last["epoch_accuracies"]) == last["best"]
    gaps = [after - before for before, after in pairwise(last["epoch_end_times"])]
    assert gaps == pytest.approx(last["epoch_seconds"][1:], abs=0.1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("package", ["grad_cam", "onnxruntime"])
def test_other_packages_answer_with_the_map_that_they_draw(
    package: str, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(file) for file in sorted(tiny_folder.rglob("*.png"))[:2] or sorted(tiny_folder.rglob("*.jpg"))[:2]]
    heat_maps.main([package, *files])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["seconds"] > 0
    # Grad-CAM's map has the size of the network's input; a forward pass has none.
    assert result["map_size"] == (224 * 224 if package == "grad_cam" else 0)


@pytest.mark.usefixtures("one_thread")
def test_an_average_of_the_weights_is_judged_in_the_place_of_the_newest(told: Trainings) -> None:
    average, newest = (told("reference", *more)["best"] for more in (("--ema", "0.999999"), ()))
    assert average < newest, "it has hardly moved from the start"


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
