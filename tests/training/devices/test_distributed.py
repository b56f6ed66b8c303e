"""Several processes, as torchrun starts them, learn what one does."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage, Started
from ftlab.runs.jobs.launch import build_environment
from tests.support import ROOT, double_precision

TRAIN = (
    "train",
    "--features",
    "fresh",
    "--epochs",
    "2",
    "--batch-size",
    "4",
    "--torch-num-threads",
    "1",
)
TORCHRUN = (
    *("-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "ftlab"),  # a free port
)
KILLED = (*TORCHRUN[:-2], str(ROOT / "tests" / "support" / "killed_rank.py"))
RESTARTED = (*KILLED[:-1], "--max-restarts", "2", KILLED[-1])
FORKED = (str(ROOT / "tests" / "support" / "ranks.py"),) if hasattr(os, "fork") else TORCHRUN
"""What starts both ranks sooner than torchrun."""
SMALL = ("--image-size", "64")
PHASES = (
    *(
        "--mode",
        "full",
        "--unfreeze-epoch",
        "1",
        "--grad-accum-steps",
        "2",
        "--batchnorm",
        "frozen",
        "--augment",
        "none",
    ),
    *(
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e-4",
        "--head-lr-multiplier",
        "1",
        "--ema-decay",
        "0.5",
        "--grad-clip-norm",
        "1",
    ),
)
"""The backbone learns at last, slowly enough for rounding not to grow, and with statistics that do not depend on which
pictures a process has."""
UPPER_THEN_ALL = ("--unfreeze-epoch", "0", "--unfreeze-from", "auto", "--unfreeze-all-epoch", "1")
CACHED = ("--activations", "cached")
TINY = (
    *("--mode", "scratch", "--backbone", "timm/test_vit", "--augment", "none", "--optimizer", "sgd"),
    *("--learning-rate", "1e-3", "--head-lr-multiplier", "1", "--schedule", "constant"),
)
"""Some ten layers, without statistics of a batch: compiled in seconds."""
DOUBLE = (
    *("--mode", "full", "--unfreeze-epoch", "0", "--batchnorm", "frozen", "--augment", "none", "--optimizer", "sgd"),
    *("--learning-rate", "1e-3"),
)
"""All layers, with BatchNorm in evaluation mode: what a process computes does not depend on the images of others."""
Train = Callable[..., Run]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(tiny_folder: Path, tmp_path: Path, say: Callable[..., tuple[int, str, str]]) -> Train:
    """What trains with two processes, or, without a launcher, in this one."""

    def train(launcher: tuple[str, ...] = (), settings: tuple[str, ...] = ()) -> Run:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        words = [*TRAIN, "--device", "cpu", "--data", str(tiny_folder), "--runs", str(folder), *settings]
        if launcher:
            command = [sys.executable, *launcher, *words]
            done = subprocess.run(command, capture_output=True, text=True, env=build_environment())
            status, told = done.returncode, done.stderr
        else:
            status, _, told = say(*words)
        assert status == 0, told
        assert told.count("Epoch   2 ") == 1, "one of them speaks"
        (name,) = run_store.list_run_names(folder)
        return Run(folder / name)

    return train


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return weights_file.load_tensors(run.last_checkpoint_path)[0]


def test_two_processes_learn_what_one_does(trained: Train) -> None:
    alone, both = trained(settings=SMALL), trained(TORCHRUN, SMALL)
    assert (alone.read_json("config.json")["processes"], both.read_json("config.json")["processes"]) == (1, 2)
    one, two = (weights_file.load_tensors(run.last_checkpoint_path)[0] for run in (alone, both))
    for key in ("module.weight", "module.bias"):
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-6)
    best = weights_file.load_tensors(alone.best_weights_path)[0], weights_file.load_tensors(both.best_weights_path)[0]
    assert all(torch.equal(best[0][key], best[1][key]) for key in best[0] if key.startswith("backbone."))

    assert not both.liveness.is_process_alive()
    assert both.liveness.get_status() == "finished"
    assert len([event for event in both.read_events()[0] if isinstance(event, Started)]) == 1
    for left, right in zip(alone.load_history().epochs, both.load_history().epochs, strict=True):
        assert (left.train_accuracy, left.val_accuracy) == (right.train_accuracy, right.val_accuracy)
        assert abs((left.val_loss or 0) - (right.val_loss or 0)) < 1e-6


@pytest.mark.parametrize(("phases", "cached"), [((), ()), (UPPER_THEN_ALL, CACHED)], ids=["head", "upper layers"])
def test_two_processes_exchange_the_gradients_of_what_was_unfrozen_and_of_what_was_added_up(
    trained: Train, phases: tuple[str, ...], cached: tuple[str, ...]
) -> None:
    settings = (*SMALL, *PHASES, *phases)
    alone, both = trained(settings=settings), trained(FORKED, (*settings, *cached))
    assert both.load_resolved_config().activations == "fresh", "several processes keep no activations"
    assert both.read_json("config.json")["processes"] == 2
    one, two = (weights_file.load_tensors(run.last_checkpoint_path)[0] for run in (alone, both))
    learnt = [key for key in one if key.startswith(("module.", "average."))]
    assert len(learnt) == 2 * 296
    for key in learnt:
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-5), key
    conv = "module.backbone.conv_stem.weight"
    before, after = (
        weights_file.load_tensors(run.best_weights_path)[0]["backbone.conv_stem.weight"] for run in (alone, both)
    )
    assert not torch.equal(one[conv], one[conv.replace("module", "average")]), "it has moved"
    assert before.shape == after.shape


@pytest.mark.parametrize(
    "settings",
    [("--mode", "frozen"), ("--mode", "frozen", "--features", "cached"), DOUBLE],
    ids=["head", "features", "all"],
)
def test_the_losses_of_two_processes_are_those_of_one_at_every_step(
    trained: Train, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head alone in float32; all layers in float64."""
    if settings == DOUBLE:
        monkeypatch.setenv(double_precision.VARIABLE, "1")
        double_precision.train_in_double(monkeypatch.setattr)
    alone, both = trained(settings=(*SMALL, *settings)), trained(FORKED, (*SMALL, *settings))
    one, two = ([row.loss for row in run.load_history().steps] for run in (alone, both))
    assert len(one) == len(two) == 10
    differences = [abs((left or 0) - (right or 0)) for left, right in zip(one, two, strict=True)]
    assert max(differences) < (1e-12 if settings == DOUBLE else 1e-6)
    assert None not in one
    assert one[0] != one[-1]


def test_a_training_whose_rank_is_killed_in_mid_epoch_goes_on_to_the_weights_of_an_undisturbed_one(
    trained: Train,
) -> None:
    """By torchrun's own restart; the checkpoint is of the step before. `rank_torture.py` kills more often."""
    whole = trained(FORKED, TINY)
    disturbed = trained((*RESTARTED, "1:forward_backward:8"), TINY)
    events = disturbed.read_events()[0]
    assert [event.step for event in events if isinstance(event, Started)] == [0, 8]
    assert {event.processes for event in events if isinstance(event, Started)} == {2}
    assert disturbed.liveness.get_status() == "finished"
    assert weights_of(disturbed).keys() == weights_of(whole).keys()
    for key, tensor in weights_of(whole).items():
        assert torch.equal(weights_of(disturbed)[key], tensor), key


def test_a_training_that_loses_a_rank_for_good_ends_with_one_line_and_can_be_resumed(
    tiny_folder: Path, tmp_path: Path
) -> None:
    words = [*TRAIN, "--device", "cpu", "--data", str(tiny_folder), "--runs", str(tmp_path / "runs"), *TINY]
    done = subprocess.run(
        [sys.executable, *KILLED, "1:forward_backward:8", *words],
        capture_output=True,
        text=True,
        env=build_environment(),
    )
    told, _, of_torchrun = done.stderr.partition("torch/distributed/elastic")
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("ftlab:")]
    assert re.match(r"ftlab: Process 1 \(PID \d+\) of 2 on \S+ has ended, and the others end with it\.", line)
    assert "SIGKILL" in of_torchrun
    (name,) = run_store.list_run_names(tmp_path / "runs")
    run = Run(tmp_path / "runs" / name)
    end_event = run.liveness.read_end_event()
    assert end_event is not None
    assert (end_event.reason, end_event.step, end_event.message) == ("failed", 8, line.removeprefix("ftlab: "))
    assert not run.liveness.is_process_alive()


def test_two_processes_with_a_compiled_network_learn_what_one_does_without(trained: Train) -> None:
    alone, both = trained(settings=(*TINY, "--compile", "no")), trained(FORKED, (*TINY, "--compile", "yes"))
    assert "compiled" in {event.code for event in both.read_events()[0] if isinstance(event, LogMessage)}
    assert (alone.load_resolved_config().compile, both.load_resolved_config().compile) == ("no", "yes")
    one, two = (weights_file.load_tensors(run.last_checkpoint_path)[0] for run in (alone, both))
    assert one.keys() == two.keys()
    for key in (key for key in one if key.startswith("module.")):
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-5), key


def notes_of(run: Run, code: str) -> list[dict[str, object]]:
    events = run.read_events()[0]
    return [event.values for event in events if isinstance(event, LogMessage) and event.code == code]


def test_two_processes_look_at_each_picture_once_with_a_frozen_backbone(
    trained: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keep the features, bit for bit, for one process and for two."""
    settings = (*SMALL, "--features", "cached", "--cached-views", "2", "--engine", "torch")
    alone = trained(settings=settings)
    alone_features = read_features(Path(os.environ["FTLAB_HOME"]))
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home of both"))
    both = trained(FORKED, settings)
    assert [values["images"] for run in (alone, both) for values in notes_of(run, "features")] == [21, 21]
    assert read_features(tmp_path / "home of both") == alone_features
    assert len(alone_features) == 2 * 18 + 3
    assert not list((tmp_path / "home of both").glob("rows-*"))

    for again in (trained(settings=settings), trained(FORKED, settings)):
        assert [values["kept"] for values in notes_of(again, "features_kept")] == [21]
        assert notes_of(again, "features") == []
        for key, tensor in weights_of(alone).items():
            assert torch.allclose(weights_of(again)[key], tensor, rtol=0, atol=1e-6), key
    for key in ("module.weight", "module.bias"):
        assert torch.allclose(weights_of(alone)[key], weights_of(both)[key], rtol=0, atol=1e-6)
    assert [row.val_accuracy for row in alone.load_history().epochs] == [
        row.val_accuracy for row in both.load_history().epochs
    ]


def read_features(home: Path) -> dict[bytes, bytes]:
    """All that the feature cache holds."""
    with closing(sqlite3.connect(home / "features.sqlite")) as cache:
        return dict(cache.execute("SELECT key, value FROM kept"))
