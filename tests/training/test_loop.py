"""The loop: what it tells and in what order, what stays frozen, heads, and all settings at once."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftlab.config import backbones
from ftlab.core import file_io
from ftlab.core.errors import ConfigError, RunError
from ftlab.data.dataset.catalog import catalog_from_json
from ftlab.evaluation import datasets, evaluate
from ftlab.inference import load_model
from ftlab.models import weights_file
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Saved, Started, Step
from ftlab.training import preparation
from ftlab.training.loop import train
from tests.support.short_trainings import (
    BACKBONE,
    CACHED,
    FRESH,
    FULL,
    MOBILENET,
    SCRATCH,
    STEPS,
    UPPER,
    WAYS,
    changed,
    end,
    figures,
    go,
    only,
)
from tests.support.tiny_backbone import TINY

# The story


@WAYS
def test_the_story_of_a_training(begin: Callable[..., Run], way: dict[str, Any]) -> None:
    run = begin(**way)
    events = go(run)
    first = events[0]
    assert isinstance(first, Started)
    assert (first.step, first.epochs, first.steps_per_epoch) == (0, 3, STEPS)
    assert (first.train_images, first.val_images) == (18, 3)
    spec, mode = backbones.get_backbone_spec(BACKBONE), run.load_config().mode
    trainable, total = backbones.count_parameters(spec, 3, mode)
    assert first.total == total
    assert first.trainable < trainable if way is UPPER else first.trainable == trainable

    epochs = only(events, Epoch)
    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(0, 0), (1, 5), (2, 10), (3, 15)]
    untrained = epochs[0]
    assert untrained.train_loss is untrained.train_accuracy is untrained.learning_rate is None
    assert untrained.val_loss == pytest.approx(math.log(3), abs=0.3)
    assert untrained.best
    for epoch in epochs[1:]:
        assert 0 <= epoch.train_accuracy <= 1
        assert 0 <= epoch.val_accuracy <= 1
        assert epoch.train_loss > 0
        assert epoch.val_loss > 0
        assert epoch.images_per_second > 0
        assert epoch.seconds > 0
    # The running mean of an epoch is that of its steps, weighted by their pictures.
    steps = [step for step in only(events, Step) if step.epoch == 1]
    weighted = sum(step.loss * size for step, size in zip(steps, (4, 4, 4, 4, 2), strict=True)) / 18
    assert epochs[1].train_loss == pytest.approx(weighted)

    assert [step.step for step in only(events, Step)] == list(range(1, 16))
    assert 0 < only(events, Step)[-1].learning_rate < max(step.learning_rate for step in only(events, Step))
    best = [epoch for epoch in epochs if epoch.best][-1]
    last = end(events)
    assert (last.reason, last.epoch, last.step, last.message) == ("finished", 3, 15, None)
    assert (last.best_epoch, last.best_val_accuracy) == (best.epoch, best.val_accuracy)
    assert run.liveness.get_status() == "finished"
    assert [saved.what for saved in only(events, Saved)][-1] == "last"
    assert {saved.what for saved in only(events, Saved)} == {"best", "last"}


def test_what_the_run_directory_holds_afterwards(begin: Callable[..., Run], tiny_folder: Path) -> None:
    run = begin()
    events = go(run)
    held = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert held == {
        *("config.json", "split.json", "model.json", "metrics.jsonl", "best.safetensors"),
        *(str(Path("last", name)) for name in ("state.safetensors", "before.safetensors")),
        "heartbeat",
    }
    stored = run.read_json("config.json")
    assert stored["processes"] == 1
    assert stored["resolved"]["engine"] == "torch"
    assert stored["manifest"] == run.read_json("split.json")["manifest"]
    assert stored["skipped"] == []
    assert stored["machine"].keys() == {"system", "processor", "device"}
    assert set(stored["versions"]) >= {"torch", "torchvision", "timm", "python"}
    resolved = run.load_resolved_config()
    assert None not in dataclasses.asdict(resolved).values()
    assert (resolved.device, resolved.precision, resolved.learning_rate) == ("cpu", "fp32", 1e-3)
    assert run.load_config().num_workers is None

    model = run.read_json("model.json")
    assert (model["backbone"], model["classes"]) == (BACKBONE, ["amber", "blue", "green"])
    assert (model["preprocessing"]["resize"], model["preprocessing"]["side"]) == (TINY.resize, TINY.side)
    pictures = catalog_from_json(run.read_json("split.json"))
    assert {split: len(items) for split, items in pictures.splits.items()} == {"train": 18, "val": 3, "test": 3}
    assert run.read_json("split.json")["manifest"] == pictures.compute_fingerprint()
    assert pictures.root == tiny_folder

    best = max((e for e in only(events, Epoch)), key=lambda e: (e.val_accuracy, -e.val_loss))
    kept = {"epoch": best.epoch, "val_accuracy": best.val_accuracy, "model": run.compute_sha256("model.json")}
    assert weights_file.load_tensors(run.best_weights_path)[1] == kept


def test_an_epochs_line_has_the_names_that_are_fixed(begin: Callable[..., Run]) -> None:
    run = begin(epochs=1)
    go(run)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    fixed = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "images_per_second", "seconds")
    assert all(name in epoch for epoch in epochs for name in fixed)
    assert epochs[0]["train_loss"] is epochs[0]["train_accuracy"] is None


def test_the_consumer_is_never_left_in_inference_or_without_gradients(begin: Callable[..., Run]) -> None:
    run = begin(epochs=1, **FULL)
    for _ in train(run.load_config(), run, pretrained=False):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_a_long_run_tells_about_as_many_steps_as_a_curve_can_show(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "MAX_STEP_EVENTS", 4)
    events = go(begin(epochs=2))
    assert [step.step for step in only(events, Step)] == [3, 5, 6, 9, 10]  # every third, and each epoch's last
    assert len(only(events, Epoch)) == 3


def test_the_same_seed_gives_the_same_run_and_another_one_another(begin: Callable[..., Run]) -> None:
    one, same, other = (begin(seed=seed, **FRESH) for seed in (5, 5, 6))
    for run in (one, same, other):
        go(run)
    assert one.best_weights_path.read_bytes() == same.best_weights_path.read_bytes()
    assert one.best_weights_path.read_bytes() != other.best_weights_path.read_bytes()
    assert figures(one.load_history()) == figures(same.load_history())


# Frozen means frozen


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
def test_a_frozen_backbone_keeps_every_bit(
    begin: Callable[..., Run], seen: dict[str, Any], way: dict[str, str]
) -> None:
    run = begin(**way)
    go(run)
    assert changed(seen) == {"head.weight", "head.bias"}
    net = seen["net"]
    learning = [p for group in seen["optimizer"].param_groups for p in group["params"]]
    assert {id(p) for p in learning} == {id(net.head.weight), id(net.head.bias)}
    assert all(p.grad is None for p in net.backbone.parameters())
    best = weights_file.load_tensors(run.best_weights_path)[0]
    assert all(torch.equal(best[key], seen["before"][key]) for key in best if key.startswith("backbone."))


@pytest.mark.parametrize("way", [{**FULL, "batchnorm": "trainable"}, SCRATCH], ids=["full", "scratch"])
def test_otherwise_everything_learns(begin: Callable[..., Run], seen: dict[str, Any], way: dict[str, Any]) -> None:
    go(begin(epochs=1, **way))
    assert changed(seen) == set(seen["before"])


def test_full_mode_keeps_the_pretrained_batchnorm_statistics(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    go(begin(epochs=1, **FULL))
    statistics = {key for key in seen["before"] if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert statistics
    assert changed(seen) == set(seen["before"]) - statistics


# Heads

HEAD = {"head_hidden": 16, "dropout": 0.4, "head_init": "default"}


@pytest.mark.parametrize("way", [CACHED, FULL], ids=["cached", "full"])
def test_a_head_with_layers_and_dropout_learns_resumes_to_the_bit_and_predicts(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    whole, parted = begin(**way, **HEAD), begin(**way, **HEAD)
    go(whole)
    go(parted, 7)
    go(parted)
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert whole.read_json("model.json")["head"] == {"kind": "softmax", "hidden": 16, "dropout": 0.4, "init": "default"}
    top = load_model.load_predictor(whole).predict(next((tiny_folder / "amber").iterdir()))
    assert sum(score.probability for score in top) == pytest.approx(1.0)


def test_one_logit_learns_two_classes_and_predicts_them(begin: Callable[..., Run], tiny_folder: Path) -> None:
    shutil.rmtree(tiny_folder / "green")
    run = begin(epochs=20, learning_rate=1e-2, head_kind="logit")
    events = go(run)
    assert only(events, Epoch)[0].val_loss == pytest.approx(math.log(2), abs=0.1)
    assert only(events, Epoch)[-1].train_loss < only(events, Epoch)[1].train_loss
    assert weights_file.load_tensors(run.best_weights_path)[0]["head.classifier.weight"].shape[0] == 1
    top = load_model.load_predictor(run).predict(next((tiny_folder / "blue").iterdir()))
    assert {score.name for score in top} == {"amber", "blue"}
    assert sum(score.probability for score in top) == pytest.approx(1.0)


def test_one_logit_for_three_classes_is_refused(begin: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError, match="there are 3") as caught:
        go(begin(head_kind="logit"))
    assert caught.value.code == "config.logit"


# Settings of the craft, all at once

CRAFT = {
    **{
        "ema_decay": 0.9,
        "mixup": 0.4,
        "grad_clip_norm": 1.0,
        "grad_accum_steps": 2,
        "save_every_epochs": 2,
        "label_smoothing": 0.1,
    },
    **{"sampling": "balanced", "dropout": 0.2, "schedule": "plateau", "plateau_patience": 0, "monitor": "loss"},
}
CRAFTS = pytest.mark.parametrize(
    "way",
    [{**CACHED, **CRAFT}, {**FRESH, **CRAFT, "cutmix": 1.0}, {**FULL, **CRAFT, "cutmix": 1.0, "layer_decay": 0.8}],
    ids=["cached", "fresh", "full"],
)


@CRAFTS
def test_with_every_setting_a_resume_is_the_undisturbed_run_to_the_bit(
    begin: Callable[..., Run], way: dict[str, Any]
) -> None:
    whole, parted = begin(epochs=4, num_workers=1, **way), begin(epochs=4, num_workers=3, **way)
    events = go(whole)
    assert [(e.epoch, e.step) for e in only(events, Epoch)] == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]
    go(parted, 4)
    go(parted, 9)
    go(parted)
    for file in ("best.safetensors", "last/state.safetensors", "epochs/0002.safetensors", "epochs/0004.safetensors"):
        assert (parted.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert sorted(file.name for file in whole.epoch_weights_folder.iterdir()) == [
        "0002.safetensors",
        "0004.safetensors",
    ]
    assert figures(parted.load_history()) == figures(whole.load_history())
    assert [(saved.epoch, saved.step) for saved in only(events, Saved) if saved.what == "epoch"] == [(2, 6), (4, 12)]


def test_the_average_is_what_is_scored_and_kept(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(epochs=2, save_every_epochs=2, ema_decay=0.9, **FULL)
    events = go(run)
    kept = weights_file.load_tensors(run.path / "epochs" / "0002.safetensors")[0]
    assert not torch.equal(kept["head.weight"], seen["net"].head.weight)
    averages = weights_file.load_tensors(run.last_checkpoint_path)[0]
    assert all(torch.equal(kept[key], averages[f"average.{key}"]) for key in kept)
    weights_file.save_tensors(run.best_weights_path, kept, {"epoch": 2, "val_accuracy": 0.0})
    found = evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, "val")).metrics
    assert only(events, Epoch)[-1].val_loss == pytest.approx(found.loss, rel=1e-4)


@pytest.mark.parametrize("way", [{**CACHED, **CRAFT}, {**FRESH, **CRAFT}], ids=["cached", "fresh"])
def test_frozen_is_frozen_with_every_setting(
    begin: Callable[..., Run], seen: dict[str, Any], way: dict[str, Any]
) -> None:
    run = begin(**way)
    go(run)
    assert {key.partition(".")[0] for key in changed(seen)} == {"head"}
    best = weights_file.load_tensors(run.best_weights_path)[0]
    assert all(torch.equal(best[key], seen["before"][key]) for key in best if key.startswith("backbone."))


# A fused optimizer


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_fused_training_resumes_to_the_bit_and_is_the_other_but_for_rounding(
    begin: Callable[..., Run], optimizer: str
) -> None:
    """After five small steps: within 1e-4 of the largest weight."""
    settings = {**FULL, "optimizer": optimizer, "epochs": 1, "learning_rate": 1e-4, "batchnorm": "frozen"}
    made = {is_fused: begin(fused=is_fused, **settings) for is_fused in (True, False, None)}
    for is_fused, run in made.items():
        if is_fused is None:
            go(run, 3)
        go(run)
    assert made[None].load_resolved_config().fused is True
    assert made[None].last_checkpoint_path.read_bytes() == made[True].last_checkpoint_path.read_bytes()
    fused, plain = (weights_file.load_tensors(made[is_fused].last_checkpoint_path)[0] for is_fused in (True, False))
    learnt = [name for name in fused if name.startswith("module.")]
    assert len(learnt) == 92
    for name in learnt:
        assert torch.allclose(fused[name], plain[name], rtol=0, atol=1e-4 * float(plain[name].abs().max()) + 1e-9), name


# Room on the disk


def test_a_training_that_the_disk_has_no_room_for_is_not_begun(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(**FULL, backbone=MOBILENET)
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: 40_000_000)
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.space"
    said = str(caught.value)
    # MobileNetV2 with three classes takes 9 MB: the best, three states of three times that, and 16 MB for the rest.
    assert "writes up to 106 MB" in said
    assert "40 MB are free" in said
    assert not run.best_weights_path.exists()


def test_a_frozen_training_needs_little_room(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: 40_000_000)
    assert end(go(begin(epochs=1, backbone=MOBILENET))).reason == "finished"
