"""The loop: what it tells and in what order, what stays frozen, what a stop and a resume leave as it was."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ftlab import backbones, runs, words
from ftlab.config import TrainConfig
from ftlab.data.catalog import from_json
from ftlab.data.decode import read
from ftlab.data.decoded import Decoded
from ftlab.errors import ConfigError, DataError, RunError
from ftlab.events import Ended, Epoch, Event, Note, Progress, Saved, Started, Step
from ftlab.history import History
from ftlab.inference import predictor
from ftlab.inspection import evaluate, labelled
from ftlab.models import network
from ftlab.models.network import Network
from ftlab.models.portions import Portions
from ftlab.runs import Run
from ftlab.training import checkpoint, devices, engine, learner, losses, optim, sealed, setup
from ftlab.training.engine import train

BACKBONE = "mobilenet_v2"
STEPS = 5
"""Of an epoch: 18 of the tiny folder's pictures, four at a time."""
CACHED, FRESH = {"mode": "frozen"}, {"mode": "frozen", "features": "fresh"}
FULL, SCRATCH = {"mode": "full", "learning_rate": 1e-3}, {"mode": "scratch"}
WAYS = pytest.mark.parametrize("way", [CACHED, FRESH, FULL, SCRATCH], ids=["cached", "fresh", "full", "scratch"])


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone looks at 64 × 64 pixels: all that is told here is as true there, and ten times faster."""
    row = backbones.get(BACKBONE)
    monkeypatch.setitem(backbones.TABLE, BACKBONE, dataclasses.replace(row, side=64, resize=72))


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """A new run on the tiny folder: three epochs of five steps, unless told otherwise. One thread computes: where
    the machine is busy, two wait for each other at each of thousands of small operations."""
    few = {"epochs": 3, "batch_size": 4, "data": str(tiny_folder), "backbone": BACKBONE, "threads": 1}

    def new(**knobs: Any) -> Run:
        return runs.create(tmp_path / "runs", TrainConfig(**{**few, **knobs}))

    return new


def go(run: Run, stop_at: int | None = None) -> list[Event]:
    """Train to the end, or ask to stop at a step; what was told is also in the run."""
    run.withdraw_stop()
    events = []
    for event in train(run.config(), run, weights=False):
        run.append(event)
        events.append(event)
        if isinstance(event, Step) and event.step == stop_at:
            run.ask_stop()
    return events


def only(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def end(events: list[Event]) -> Ended:
    assert len(only(events, Ended)) == 1
    assert isinstance(events[-1], Ended)
    return events[-1]


def figures(history: History) -> list[dict[str, object]]:
    """All that was measured, but for what depends on the clock."""
    told = [dataclasses.asdict(event) for event in [*history.epochs, *history.steps]]
    return [{k: v for k, v in one.items() if k not in ("time", "seconds", "images_per_second")} for one in told]


# The story


@WAYS
def test_the_story_of_a_training(begin: Callable[..., Run], way: dict[str, Any]) -> None:
    run = begin(**way)
    events = go(run)
    first = events[0]
    assert isinstance(first, Started)
    assert (first.step, first.epochs, first.steps_per_epoch) == (0, 3, STEPS)
    assert (first.train_images, first.val_images) == (18, 3)
    assert (first.trainable, first.total) == backbones.count(backbones.get(BACKBONE), 3, run.config().mode)

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
    assert run.status() == "finished"
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
    stored = run.read("config.json")
    assert stored["processes"] == 1
    assert stored["resolved"]["engine"] == "torch"
    assert stored["manifest"] == run.read("split.json")["manifest"]
    assert stored["skipped"] == []
    assert stored["machine"].keys() == {"system", "processor", "device"}
    assert set(stored["versions"]) >= {"torch", "torchvision", "timm", "python"}
    resolved = run.resolved()
    assert None not in dataclasses.asdict(resolved).values()
    assert (resolved.device, resolved.precision, resolved.learning_rate) == ("cpu", "fp32", 1e-3)
    assert run.config().workers is None

    model = run.read("model.json")
    assert (model["backbone"], model["classes"]) == (BACKBONE, ["amber", "blue", "green"])
    assert (model["preprocessing"]["resize"], model["preprocessing"]["side"]) == (72, 64)
    pictures = from_json(run.read("split.json"))
    assert {split: len(items) for split, items in pictures.splits.items()} == {"train": 18, "val": 3, "test": 3}
    assert run.read("split.json")["manifest"] == pictures.manifest()
    assert pictures.root == tiny_folder

    best = max((e for e in only(events, Epoch)), key=lambda e: (e.val_accuracy, -e.val_loss))
    kept = {"epoch": best.epoch, "val_accuracy": best.val_accuracy, "model": run.fingerprint("model.json")}
    assert sealed.load(run.best)[1] == kept


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
    for _ in train(run.config(), run, weights=False):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_a_long_run_tells_about_as_many_steps_as_a_curve_can_show(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_POINTS", 4)
    events = go(begin(epochs=2))
    assert [step.step for step in only(events, Step)] == [3, 5, 6, 9, 10]  # every third, and each epoch's last
    assert len(only(events, Epoch)) == 3


def test_the_same_seed_gives_the_same_run_and_another_one_another(begin: Callable[..., Run]) -> None:
    one, same, other = (begin(seed=seed, **FRESH) for seed in (5, 5, 6))
    for run in (one, same, other):
        go(run)
    assert one.best.read_bytes() == same.best.read_bytes()
    assert one.best.read_bytes() != other.best.read_bytes()
    assert figures(one.history()) == figures(same.history())


# Frozen means frozen


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The network and the optimizer that the engine makes, and the network's state before."""
    caught: dict[str, Any] = {}
    build, make = network.build, optim.make

    def building(*arguments: Any, **more: Any) -> Network:
        caught["net"] = build(*arguments, **more)
        caught["before"] = {key: value.clone() for key, value in caught["net"].state_dict().items()}
        return caught["net"]

    def making(*arguments: Any) -> torch.optim.Optimizer:
        caught["optimizer"] = make(*arguments)
        return caught["optimizer"]

    monkeypatch.setattr(network, "build", building)
    monkeypatch.setattr(optim, "make", making)
    return caught


def changed(caught: dict[str, Any]) -> set[str]:
    after: dict[str, Tensor] = caught["net"].state_dict()
    return {key for key, value in after.items() if not torch.equal(value, caught["before"][key])}


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
    best = sealed.load(run.best)[0]
    assert all(torch.equal(best[key], seen["before"][key]) for key in best if key.startswith("backbone."))


@pytest.mark.parametrize("way", [FULL, SCRATCH], ids=["full", "scratch"])
def test_otherwise_everything_learns(begin: Callable[..., Run], seen: dict[str, Any], way: dict[str, Any]) -> None:
    go(begin(epochs=1, **way))
    assert changed(seen) == set(seen["before"])


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
    assert parted.best.read_bytes() == whole.best.read_bytes()
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert whole.read("model.json")["head"] == {"kind": "softmax", "hidden": 16, "dropout": 0.4, "init": "default"}
    top = predictor.load(whole).top(next((tiny_folder / "amber").iterdir()))
    assert sum(score.probability for score in top) == pytest.approx(1.0)


def test_one_logit_learns_two_classes_and_predicts_them(begin: Callable[..., Run], tiny_folder: Path) -> None:
    shutil.rmtree(tiny_folder / "green")
    run = begin(epochs=20, learning_rate=1e-2, head_kind="logit")
    events = go(run)
    assert only(events, Epoch)[0].val_loss == pytest.approx(math.log(2), abs=0.1)
    assert only(events, Epoch)[-1].train_loss < only(events, Epoch)[1].train_loss
    assert sealed.load(run.best)[0]["head.classifier.weight"].shape[0] == 1
    top = predictor.load(run).top(next((tiny_folder / "blue").iterdir()))
    assert {score.name for score in top} == {"amber", "blue"}
    assert sum(score.probability for score in top) == pytest.approx(1.0)


def test_one_logit_for_three_classes_is_refused(begin: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError, match="there are 3") as caught:
        go(begin(head_kind="logit"))
    assert caught.value.code == "config.logit"


# Knobs of the craft, all at once

CRAFT = {
    **{"ema": 0.9, "mixup": 0.4, "clip_norm": 1.0, "accumulate": 2, "keep_every": 2, "label_smoothing": 0.1},
    **{"sampling": "balanced", "dropout": 0.2, "schedule": "plateau", "plateau_patience": 0, "best_by": "loss"},
}
CRAFTS = pytest.mark.parametrize(
    "way",
    [{**CACHED, **CRAFT}, {**FRESH, **CRAFT, "cutmix": 1.0}, {**FULL, **CRAFT, "cutmix": 1.0, "layer_decay": 0.8}],
    ids=["cached", "fresh", "full"],
)


@CRAFTS
def test_with_every_knob_a_resume_is_the_undisturbed_run_to_the_bit(
    begin: Callable[..., Run], way: dict[str, Any]
) -> None:
    whole, parted = begin(epochs=4, workers=1, **way), begin(epochs=4, workers=3, **way)
    events = go(whole)
    assert [(e.epoch, e.step) for e in only(events, Epoch)] == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]
    go(parted, 4)
    go(parted, 9)
    go(parted)
    for file in ("best.safetensors", "last/state.safetensors", "epochs/0002.safetensors", "epochs/0004.safetensors"):
        assert (parted.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert sorted(file.name for file in whole.epochs.iterdir()) == ["0002.safetensors", "0004.safetensors"]
    assert figures(parted.history()) == figures(whole.history())
    assert [(saved.epoch, saved.step) for saved in only(events, Saved) if saved.what == "epoch"] == [(2, 6), (4, 12)]


def test_the_average_is_what_is_scored_and_kept(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(epochs=2, keep_every=2, ema=0.9, **FULL)
    events = go(run)
    kept = sealed.load(run.path / "epochs" / "0002.safetensors")[0]
    assert not torch.equal(kept["head.weight"], seen["net"].head.weight)
    averages = sealed.load(run.last)[0]
    assert all(torch.equal(kept[key], averages[f"average.{key}"]) for key in kept)
    sealed.write(run.best, kept, {"epoch": 2, "val_accuracy": 0.0})
    found = evaluate.inspect(run, labelled.of_split(run, "val")).figures
    assert only(events, Epoch)[-1].val_loss == pytest.approx(found.loss, rel=1e-4)


@pytest.mark.parametrize("way", [{**CACHED, **CRAFT}, {**FRESH, **CRAFT}], ids=["cached", "fresh"])
def test_frozen_is_frozen_with_every_knob(begin: Callable[..., Run], seen: dict[str, Any], way: dict[str, Any]) -> None:
    run = begin(**way)
    go(run)
    assert {key.partition(".")[0] for key in changed(seen)} == {"head"}
    best = sealed.load(run.best)[0]
    assert all(torch.equal(best[key], seen["before"][key]) for key in best if key.startswith("backbone."))


# Phases

TWO_PHASES = {
    **{"mode": "full", "epochs": 5, "unfreeze_epoch": 2, "learning_rate": 1e-3, "head_multiplier": 1.0},
    **{"phase2_optimizer": "rmsprop", "phase2_rate": 2e-3, "schedule": "constant", "warmup": 0.0},
}


def test_after_the_head_alone_fine_tuning_starts_with_its_optimizer_and_rate(
    begin: Callable[..., Run], seen: dict[str, Any]
) -> None:
    run = begin(**TWO_PHASES, unfreeze_from="features.12.conv.1", batchnorm="frozen")
    events, moved = [], {}
    for event in train(run.config(), run, weights=False):
        events.append(event)
        if isinstance(event, Epoch):
            moved[event.epoch] = changed(seen)
    head = {"head.weight", "head.bias"}
    assert moved[1] == moved[2] == head
    learning = {id(p) for group in seen["optimizer"].param_groups for p in group["params"]}
    upper = {name for name, p in seen["net"].named_parameters() if id(p) in learning}
    assert len(upper) == len(learning) == 56, "of the backbone 54 tensors"
    assert head < moved[3] <= moved[5] <= upper, "and no statistics"
    assert "backbone.features.12.conv.1.0.weight" in moved[3]
    assert [epoch.learning_rate for epoch in only(events, Epoch)][1:] == [1e-3, 1e-3, 2e-3, 2e-3, 2e-3]
    assert type(seen["optimizer"]).__name__ == "RMSprop"
    (note,) = only(events, Note)
    assert (note.code, note.values["epoch"], note.values["step"]) == ("fine_tuning", 3, 2 * STEPS)
    assert only(events, Started)[0].trainable == 3 * 1281
    assert "Fine-tuning starts" in words.text("log.fine_tuning", **note.values)


def test_each_phase_has_the_whole_schedule_to_itself(begin: Callable[..., Run]) -> None:
    run = begin(mode="full", epochs=4, unfreeze_epoch=2, learning_rate=1e-3, warmup=0.0)
    rates = [step.learning_rate for step in only(go(run), Step)]
    assert rates[: 2 * STEPS] == rates[2 * STEPS :]
    assert rates[0] == pytest.approx(1e-2)


def test_block_by_block_the_log_says_what_learns(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(mode="full", epochs=4, unfreeze_epoch=1, gradual="yes", learning_rate=1e-3)
    notes = only(go(run), Note)
    assert [(note.code, note.values["epoch"]) for note in notes] == [
        *[("fine_tuning", 2), ("unfrozen", 3), ("unfrozen", 4)]
    ]
    assert [note.values.get("block") for note in notes] == [None, "features.17.conv", "features.16.conv"]
    assert {key.split(".")[2] for key in changed(seen) if key.startswith("backbone")} == {"16", "17", "18"}
    assert all(words.text(f"log.{note.code}", **note.values) for note in notes)


@pytest.mark.parametrize("stops", [(7,), (10,), (13, 18)], ids=["first phase", "at the turn", "second phase"])
@pytest.mark.parametrize("more", [{}, {"gradual": "yes", "ema": 0.9, "schedule": "plateau"}], ids=["plain", "gradual"])
def test_a_resume_in_either_phase_is_the_undisturbed_run_to_the_bit(
    begin: Callable[..., Run], stops: tuple[int, ...], more: dict[str, Any]
) -> None:
    whole, parted = begin(**{**TWO_PHASES, "epochs": 4, **more}), begin(**{**TWO_PHASES, "epochs": 4, **more})
    go(whole)
    for stop_at in (*stops, None):
        go(parted, stop_at)
    assert parted.best.read_bytes() == whole.best.read_bytes()
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert figures(parted.history()) == figures(whole.history())


def test_another_seed_of_the_head_starts_it_otherwise_on_the_same_split(begin: Callable[..., Run]) -> None:
    made = [begin(epochs=1, head_init="default", **knobs) for knobs in ({}, {"head_seed": 0}, {"head_seed": 1})]
    for run in made:
        go(run)
    same, zero, one = (sealed.load(run.best)[0]["head.weight"] for run in made)
    assert torch.equal(same, zero), "the seed is 0 where nothing is said"
    assert not torch.allclose(zero, one, atol=1e-3)
    assert len({run.read("config.json")["manifest"] for run in made}) == 1


def test_early_stopping_waits_for_the_last_phase(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(**{**TWO_PHASES, "epochs": 9, "unfreeze_epoch": 3}, early_stop=2)
    scored(monkeypatch, [0.9, 0.3, 0.2, 0.1, 0.2, 0.1, 0.2])
    last = end(go(run))
    assert (last.reason, last.epoch) == ("early", 5)


def test_a_layer_that_is_not_there_is_told_before_anything_starts(begin: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError, match=r"no layer \"layer9\""):
        go(begin(**FULL, unfreeze_from="layer9"))


def test_statistics_of_a_frozen_backbone_move_where_a_recipe_wants_it(
    begin: Callable[..., Run], seen: dict[str, Any]
) -> None:
    whole, parted = begin(**FRESH, batchnorm="train"), begin(**FRESH, batchnorm="train")
    go(whole)
    moving = {name for name, _ in seen["net"].named_buffers()}
    assert changed(seen) == moving | {"head.weight", "head.bias"}
    go(parted, 7)
    go(parted)
    assert parted.last.read_bytes() == whole.last.read_bytes()


# Stop and resume


@WAYS
@pytest.mark.parametrize("stop_at", [7, 10], ids=["mid-epoch", "between epochs"])
def test_a_stopped_and_resumed_run_is_the_undisturbed_one_to_the_bit(
    begin: Callable[..., Run], way: dict[str, Any], stop_at: int
) -> None:
    whole = begin(workers=1, **way)
    go(whole)
    parted = begin(workers=3, **way)
    first = go(parted, stop_at)
    assert (end(first).reason, end(first).step) == ("stopped", stop_at)
    assert parted.status() == "stopped"
    torch.manual_seed(99)  # nothing hangs on what another process would find
    second = go(parted)
    assert isinstance(second[0], Started)
    assert second[0].step == stop_at
    assert end(second).reason == "finished"

    assert parted.best.read_bytes() == whole.best.read_bytes()
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert figures(parted.history()) == figures(whole.history())
    assert len(parted.history().epochs) == 4


def test_a_killed_run_goes_on_from_its_last_epoch(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_COST_SHARE", 0)
    whole, killed = begin(**FULL), begin(**FULL)
    go(whole)
    go(killed, stop_at=3)  # the sums of a part of epoch 1 are kept …
    killed.withdraw_stop()
    for event in train(killed.config(), killed, weights=False):
        killed.append(event)
        if isinstance(event, Step) and event.step == 7:
            break  # … and no later epoch counts them again
    assert end(go(killed)).reason == "finished"
    assert killed.last.read_bytes() == whole.last.read_bytes()
    assert figures(killed.history()) == figures(whole.history())


@pytest.mark.parametrize("stop_at", [1, 4, 14])
def test_a_stop_ends_at_the_next_step_and_keeps_the_best_model(begin: Callable[..., Run], stop_at: int) -> None:
    run = begin()
    events = go(run, stop_at)
    last = end(events)
    assert (last.reason, last.step) == ("stopped", stop_at)
    assert only(events, Step)[-1].step == stop_at
    header = sealed.load(run.best)[1]
    assert (header["epoch"], header["val_accuracy"]) == (last.best_epoch, last.best_val_accuracy)


def test_a_stop_while_features_are_computed(begin: Callable[..., Run]) -> None:
    run = begin()
    run.ask_stop()
    events = list(train(run.config(), run, weights=False))
    assert end(events).reason == "stopped"
    assert (end(events).step, end(events).best_epoch) == (0, None)
    assert not run.best.exists()
    assert end(go(run)).reason == "finished"


def test_a_resume_that_is_stopped_at_once_forgets_nothing(begin: Callable[..., Run]) -> None:
    whole, run = begin(), begin()
    go(whole)
    before = end(go(run, 12))
    run.ask_stop()
    events = list(train(run.config(), run, weights=False))
    for event in events:
        run.append(event)
    assert (end(events).step, end(events).best_epoch) == (12, before.best_epoch)
    assert end(events).best_val_accuracy == before.best_val_accuracy
    assert len(run.history().epochs) == 3
    go(run)
    assert figures(run.history()) == figures(whole.history())


def test_a_stop_during_validation_is_measured_anew_by_the_resume(begin: Callable[..., Run]) -> None:
    whole, run = begin(**FRESH), begin(**FRESH)
    go(whole)
    real, rounds = engine.evaluate, itertools.count()

    def late(*arguments: Any) -> Generator[Event, None, Any]:
        if next(rounds) == 2:  # epoch 2's steps are done, its validation begins
            run.ask_stop()
        return (yield from real(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "evaluate", late)
        events = go(run)
    assert end(events).reason == "stopped"
    assert (end(events).step, only(events, Epoch)[-1].epoch) == (10, 1)
    go(run)
    assert figures(run.history()) == figures(whole.history())
    assert run.last.read_bytes() == whole.last.read_bytes()


def test_a_resume_computes_with_the_threads_of_the_first_try(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(threads=None, epochs=1, **FRESH)
    monkeypatch.setattr(devices, "cores", lambda: 3)
    go(run, 2)
    monkeypatch.setattr(devices, "cores", lambda: 1)
    run.withdraw_stop()
    assert {torch.get_num_threads() for _ in train(run.config(), run, weights=False)} == {3}
    assert run.resolved().threads == 3


@pytest.mark.parametrize("cut", [100, -1], ids=["cut short", "one byte less"])
def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(begin: Callable[..., Run], cut: int) -> None:
    whole, run = begin(**FRESH), begin(**FRESH)
    go(whole)
    go(run, 7)
    go(run, 9)
    run.last.write_bytes(run.last.read_bytes()[:cut])
    events = go(run)
    assert only(events, Started)[0].step == 7
    (note,) = (note for note in only(events, Note) if note.code == "fell_back")
    assert note.level == "warning"
    assert "at step 7" in words.text("log.fell_back", **note.values)
    assert run.last.read_bytes() == whole.last.read_bytes()
    assert run.best.read_bytes() == whole.best.read_bytes()
    assert figures(run.history()) == figures(whole.history())


def test_the_one_before_is_never_replaced_by_a_damaged_one(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    go(run, 9)
    good = run.before.read_bytes()
    run.last.write_bytes(run.last.read_bytes()[:-1])
    go(run, 8)  # from step 7 on
    assert run.before.read_bytes() == good
    assert checkpoint.read(run).position.step == 8  # type: ignore[union-attr]


def test_without_a_whole_state_a_resume_says_so_in_one_line(begin: Callable[..., Run]) -> None:
    run = begin()
    go(run, 2)
    for file in (run.last, run.before):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.damaged"
    assert "\n" not in str(caught.value)


@WAYS
def test_the_middle_of_an_epoch_is_saved_too(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    monkeypatch.setattr(checkpoint, "_WITHIN_EPOCH", 0.0)
    monkeypatch.setattr(checkpoint, "_COST_SHARE", 0.0)
    whole, killed = begin(**way), begin(**way)
    go(whole)
    for event in train(killed.config(), killed, weights=False):
        killed.append(event)
        if isinstance(event, Saved) and event.step == 8:
            break
    second = go(killed)
    assert only(second, Started)[0].step == 8
    assert killed.last.read_bytes() == whole.last.read_bytes()
    assert killed.best.read_bytes() == whole.best.read_bytes()
    assert figures(killed.history()) == figures(whole.history())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("versions", {"torch": "1.0"}, "torch: 1.0 → "),
        ("processes", 4, "processes: 4 → 1"),
        ("machine", {"processor": "Z80"}, "processor: Z80 → "),
        ("machine", {"device": "NVIDIA A10 (cuda)"}, "device: NVIDIA A10 (cuda) → cpu"),
    ],
)
def test_on_another_machine_it_goes_on_and_says_that_the_bits_may_differ(
    begin: Callable[..., Run], key: str, value: Any, said: str
) -> None:
    run = begin()
    go(run, 7)
    stored = run.read("config.json")
    was = {**stored[key], **value} if isinstance(value, dict) else value
    run.write("config.json", {**stored, key: was})
    events = go(run)
    assert end(events).reason == "finished"
    (note,) = (note for note in only(events, Note) if note.code == "not_identical")
    assert said in note.values["what"]
    assert "not bit-identical" in words.text("log.not_identical", **note.values)


def test_a_run_begun_on_a_card_goes_on_without_one(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    stored = run.read("config.json")
    card = {"device": "cuda", "precision": "fp16"}
    machine = {**stored["machine"], "device": "NVIDIA A10 (cuda)"}
    resolved, given = ({**stored[key], **card} for key in ("resolved", "config"))
    run.write("config.json", {**stored, "resolved": resolved, "config": given, "machine": machine})
    events = go(run)
    assert end(events).reason == "finished"
    assert only(events, Started)[0].device.startswith("cpu")
    assert [note.code for note in only(events, Note) if note.level == "warning"] == ["not_identical"]


def test_a_split_that_was_changed_is_not_trained_on(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    text = (run.path / "split.json").read_text(encoding="utf-8")
    (run.path / "split.json").write_text(text.replace("amber", "umber"), encoding="utf-8")
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.split"


def test_on_the_same_machine_nothing_of_the_kind_is_said(begin: Callable[..., Run]) -> None:
    run = begin()
    go(run, 7)
    assert not [note for note in only(go(run), Note) if note.level == "warning"]


# Other ends


def test_the_time_is_up(begin: Callable[..., Run]) -> None:
    run = begin(max_minutes=1e-6, epochs=1000)
    events = go(run)
    assert end(events).reason == "time"
    assert end(events).best_epoch == 0
    assert run.best.is_file()
    assert run.status() == "finished"


PLATEAU = {"schedule": "plateau", "plateau_mode": "previous", "plateau_patience": 0, "step_factor": 0.2}


def scored(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Has each validation find these accuracies, epoch 0 first; the losses are as they are."""
    real, rounds = engine.evaluate, iter(accuracies)

    def told(*arguments: Any) -> Generator[Event, None, Any]:
        score: Any = yield from real(*arguments)
        return dataclasses.replace(score, top1=next(rounds))

    monkeypatch.setattr(engine, "evaluate", told)


def test_the_rate_falls_when_validation_gets_worse_and_the_last_fall_allowed_is_the_end(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(epochs=9, warmup=0.0, plateau_cuts=2, **PLATEAU)
    scored(monkeypatch, [0.9, 0.3, 0.5, 0.4, 0.6, 0.5, 0.7])
    events = go(run)
    assert [epoch.learning_rate for epoch in only(events, Epoch)][1:] == pytest.approx([1e-3] * 3 + [2e-4] * 2)
    assert (end(events).reason, end(events).epoch) == ("early", 5)
    assert run.status() == "finished"


def test_it_ends_when_so_many_epochs_brought_nothing_better(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(epochs=9, early_stop=2)
    scored(monkeypatch, [0.1, 0.3, 0.2, 0.4, 0.1, 0.2, 0.5])
    events = go(run)
    assert (end(events).reason, end(events).epoch, end(events).best_epoch) == ("early", 5, 3)
    assert sealed.load(run.best)[1]["epoch"] == 3


def test_what_the_plateau_remembers_survives_a_stop(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parted = begin(epochs=5, **PLATEAU, **FRESH), begin(epochs=5, **PLATEAU, **FRESH)
    accuracies = [0.5, 0.6, 0.4, 0.5, 0.3, 0.4]
    for run, stops in ((whole, (None,)), (parted, (13, 21, None))):
        with pytest.MonkeyPatch.context() as patch:
            scored(patch, list(accuracies))
            for stop_at in stops:
                go(run, stop_at)
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert figures(parted.history()) == figures(whole.history())
    assert sealed.load(whole.last)[1]["position"]["plateau"]["cuts"] == 2


@pytest.mark.parametrize("way", [FRESH, FULL], ids=["fresh", "full"])
def test_an_absurd_learning_rate_ends_with_a_word_about_it(begin: Callable[..., Run], way: dict[str, Any]) -> None:
    run = begin(**{**way, "learning_rate": 100.0, "optimizer": "sgd", "warmup": 0.0, "epochs": 20})
    events = go(run)
    last = end(events)
    assert last.reason == "failed"
    assert last.message is not None
    assert "learning rate" in last.message
    assert "\n" not in last.message
    assert run.status() == "failed"
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert all(math.isfinite(epoch.val_loss) for epoch in only(events, Epoch) if epoch.best)
    assert last.best_val_accuracy is not None
    tensors, header = sealed.load(run.best)
    assert (header["epoch"], header["val_accuracy"]) == (last.best_epoch, last.best_val_accuracy)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Has the loss of each step go through a function."""
    real = losses.F.cross_entropy

    def put(change: Callable[[Tensor], Tensor]) -> None:
        monkeypatch.setattr(losses.F, "cross_entropy", lambda *given, **more: change(real(*given, **more)))

    return put


def test_a_best_that_was_not_written_yet_survives_a_failure(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, loss: Any
) -> None:
    monkeypatch.setattr(checkpoint, "_COST_SHARE", 1e12)  # nothing is due after the first time
    run = begin(mode="full", learning_rate=1e-3)
    loss(lambda value: value * (math.nan if value.requires_grad and run.history().epochs[-1].epoch == 2 else 1.0))
    last = end(go(run))
    assert last.reason == "failed"
    assert sealed.load(run.best)[1]["epoch"] == last.best_epoch


@pytest.mark.parametrize("what", [math.nan, math.inf], ids=["not a number", "infinite"])
def test_a_loss_that_is_no_number_ends_the_training_before_its_step_is_taken(
    begin: Callable[..., Run], seen: dict[str, Any], loss: Any, monkeypatch: pytest.MonkeyPatch, what: float
) -> None:
    monkeypatch.setattr(engine, "_POINTS", 1)  # it does not wait for the next point of the curve
    monkeypatch.setattr(checkpoint, "_COST_SHARE", 0)
    run = begin(**FRESH)
    steps = itertools.count(1)

    def spoil(value: Tensor) -> Tensor:
        if not value.requires_grad or next(steps) < 7:
            return value
        monkeypatch.setattr(seen["optimizer"], "step", lambda: pytest.fail("a step was taken"))
        return value * what

    loss(spoil)
    last = end(go(run))
    assert (last.reason, last.step) == ("failed", 7)
    assert "step 7, learning rate 0.0006" in str(last.message)
    assert "Try a learning rate" in str(last.message)
    assert last.best_epoch is not None
    assert last.best_epoch < 2
    assert checkpoint.read(run).position.step == 5  # type: ignore[union-attr]


def test_a_validation_loss_that_is_no_number_is_never_the_best(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(**FRESH)
    real, rounds = engine.evaluate, itertools.count()

    def spoilt(*arguments: Any) -> Generator[Event, None, Any]:
        score: Any = yield from real(*arguments)
        return dataclasses.replace(score, loss=math.inf, top1=1.0) if next(rounds) == 2 else score

    monkeypatch.setattr(engine, "evaluate", spoilt)
    events = go(run)
    assert end(events).reason == "failed"
    assert [epoch.best for epoch in only(events, Epoch)][-1] is False
    assert only(events, Epoch)[-1].epoch == 2
    assert end(events).best_epoch != 2


# A device whose memory is too small


class Card:
    """Counts what goes through a network at once, and refuses what is more than it holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int, after: int = 0) -> None:
        self.seen: list[int] = []
        forward = Network.forward

        def limited(net: Network, pictures: Tensor) -> Any:
            if net.training and len(self.seen) >= after and len(pictures) > holds:
                forward(net, pictures)  # BatchNorm has moved when the memory runs out
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            self.seen += [len(pictures)] if net.training else []
            return forward(net, pictures)

        monkeypatch.setattr(Network, "forward", limited)


def test_a_batch_that_the_memory_does_not_hold_is_halved_and_counts_as_one(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    few: dict[str, Any] = {**FRESH, "batch_size": 8, "augment": "none"}
    whole = begin(**few)
    go(whole)
    card = Card(monkeypatch, holds=3)
    run = begin(**few)
    events = go(run)
    assert max(card.seen) == 2
    (note,) = (note for note in only(events, Note) if note.code == "portions")
    assert (note.values, note.level) == ({"most": 2, "step": 1}, "warning")
    # A frozen backbone has no BatchNorm that would see fewer pictures: the gradients are those of the whole batch.
    assert [step.step for step in only(events, Step)] == list(range(1, 10))
    one, two = sealed.load(whole.last)[0], sealed.load(run.last)[0]
    for key in ("module.weight", "module.bias"):
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-4)


def test_what_a_failed_pass_moved_is_put_back(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = begin(epochs=1, **FULL), begin(epochs=1, **FULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "Portions", lambda most, whole: Portions(2))  # in twos from the beginning
        go(other)
    Card(monkeypatch, holds=2)
    go(run)
    one, two = (sealed.load(each.best)[0] for each in (run, other))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_resume_keeps_to_what_the_memory_held(begin: Callable[..., Run]) -> None:
    whole, parted = begin(**FULL), begin(**FULL)
    for run, stop_at in ((whole, None), (parted, 9)):
        with pytest.MonkeyPatch.context() as patch:
            Card(patch, holds=2, after=6)
            go(run, stop_at)
    # Now the memory is as large as ever, and the bits are the same.
    assert not [note for note in only(go(parted), Note) if note.code == "portions"]
    assert parted.last.read_bytes() == whole.last.read_bytes()


def test_a_memory_that_holds_no_picture_at_all_is_the_persons_to_mend(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    Card(monkeypatch, holds=0)
    with pytest.raises(RunError) as caught:
        go(begin(**FRESH))
    assert caught.value.code == "run.memory"


@pytest.mark.parametrize(
    ("knobs", "error", "code"),
    [
        ({"data": ""}, ConfigError, "config.no_source"),
        ({"data": "/nowhere/at/all"}, DataError, "data.missing"),
        ({"precision": "fp16"}, ConfigError, "config.precision"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    begin: Callable[..., Run], knobs: dict[str, str], error: type[Exception], code: str
) -> None:
    run = begin(**{"device": "cpu", **knobs})
    with pytest.raises(error) as caught:
        go(run)
    assert getattr(caught.value, "code", None) == code
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_here_is_refused(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftlab.training.devices.available", lambda: "cpu")
    with pytest.raises(ConfigError, match="cuda") as caught:
        go(begin(device="cuda"))
    assert caught.value.code == "config.device"


# Pictures that go bad after they were listed


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
def test_a_picture_lost_or_spoilt_on_the_way_is_named_and_training_goes_on(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    run = begin(**way)
    told = train(run.config(), run, weights=False)
    run.append(next(told))
    splits = from_json(run.read("split.json")).splits
    lost, spoilt, unseen = splits["train"][2].path, splits["train"][9].path, splits["val"][0].path
    (tiny_folder / lost).unlink()
    for file in (spoilt, unseen):
        (tiny_folder / file).write_bytes(b"\xff\xd8\xff\xe0 no more")
    for event in told:
        run.append(event)
    history = run.history()
    assert history.ended is not None
    assert history.ended.reason == "finished"
    assert [epoch.val_loss is None for epoch in history.epochs] == [False] * 4
    notes = {
        str(note.values["file"]): words.text("log.skipped", **note.values)
        for note in history.log
        if note.code == "skipped"
    }
    assert notes.keys() == {lost, spoilt, unseen}
    assert len([note for note in history.log if note.code == "skipped"]) == 3, "each is named once"
    assert notes[lost] == f"{lost} was skipped: The file is not there."


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pictures_that_are_gone_altogether_are_no_training(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any], split: str
) -> None:
    run = begin(**way)
    told = train(run.config(), run, weights=False)
    assert isinstance(next(told), Started)
    for item in from_json(run.read("split.json")).splits[split]:
        (tiny_folder / item.path).unlink()
    with pytest.raises(DataError, match="tiny") as caught:
        list(told)
    assert caught.value.code == "data.gone"


def test_progress_is_told_while_features_are_computed(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.training.setup.time.monotonic", iter(range(1000)).__next__)
    events = go(begin(epochs=1))
    told = [event for event in only(events, Progress) if event.stage == "features"]
    assert [event.total for event in told] == [21] * len(told)
    assert [event.done for event in told] == sorted({event.done for event in told})
    notes = [note for note in only(events, Note) if note.code == "features"]
    assert [note.values["images"] for note in notes] == [21]


@pytest.mark.parametrize("way", [FRESH, FULL], ids=["fresh", "full"])
def test_pictures_that_are_out_of_reach_for_a_while_cost_nothing(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    whole, run = begin(workers=1, **way), begin(workers=1, **way)
    go(whole)
    away = tiny_folder.with_name("unplugged")

    def unplugged() -> None:
        for event in train(run.config(), run, weights=False):
            run.append(event)
            if isinstance(event, Step) and event.step == 6:
                tiny_folder.rename(away)

    with pytest.raises(DataError) as caught:
        unplugged()
    assert caught.value.code == "data.gone"
    assert str(tiny_folder) in str(caught.value)
    assert not [note for note in run.history().log if note.code == "skipped"], "no picture is blamed"
    with pytest.raises(DataError) as still:
        go(run)
    assert still.value.code == "data.gone"
    away.rename(tiny_folder)
    assert end(go(run)).reason == "finished"
    assert run.last.read_bytes() == whole.last.read_bytes()
    assert figures(run.history()) == figures(whole.history())


def test_a_resume_names_what_happened_to_the_pictures(begin: Callable[..., Run], tiny_folder: Path) -> None:
    run = begin(**FRESH)
    go(run, 6)
    splits = from_json(run.read("split.json")).splits
    lost, other = splits["train"][2].path, splits["train"][9].path
    (tiny_folder / lost).unlink()
    (tiny_folder / other).write_bytes((tiny_folder / splits["train"][0].path).read_bytes() + b" ")
    events = go(run)
    notes = {note.code: note.values for note in only(events, Note)}
    assert notes == {"data_missing": {"count": 1, "file": lost}, "data_changed": {"count": 1, "file": other}}
    assert end(events).reason == "finished"


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
def test_a_picture_that_was_left_out_stays_out_after_a_resume(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    run, parted = begin(**way), begin(**way)
    go(begin(**way))

    def spoil(run: Run, stop_at: int | None) -> Path:
        told = train(run.config(), run, weights=False)
        run.append(next(told))
        file = tiny_folder / from_json(run.read("split.json")).splits["train"][4].path
        kept = file.read_bytes()
        file.unlink()
        for event in told:
            run.append(event)
            if isinstance(event, Step) and event.step == stop_at:
                run.ask_stop()
        file.write_bytes(kept)
        return file

    spoil(run, None)
    spoil(parted, 8)
    go(parted)
    assert parted.last.read_bytes() == run.last.read_bytes()
    assert len([note for note in parted.history().log if note.code == "skipped"]) == 1
    assert not [note for note in parted.history().log if note.code.startswith("data_")]


# A fused optimizer


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_fused_training_resumes_to_the_bit_and_is_the_other_but_for_rounding(
    begin: Callable[..., Run], optimizer: str
) -> None:
    """After five small steps: within 1e-4 of the largest weight."""
    knobs = {**FULL, "optimizer": optimizer, "epochs": 1, "learning_rate": 1e-4, "batchnorm": "frozen"}
    made = {name: begin(fused=name, **knobs) for name in ("yes", "no", "auto")}
    for name, run in made.items():
        if name == "auto":
            go(run, 3)
        go(run)
    assert made["auto"].resolved().fused == "yes"
    assert made["auto"].last.read_bytes() == made["yes"].last.read_bytes()
    fused, plain = (sealed.load(made[name].last)[0] for name in ("yes", "no"))
    learnt = [name for name in fused if name.startswith("module.")]
    assert len(learnt) > 300
    for name in learnt:
        assert torch.allclose(fused[name], plain[name], rtol=0, atol=1e-4 * float(plain[name].abs().max()) + 1e-9), name


# Pictures varied in batches, where the network is


@pytest.mark.parametrize("way", [FULL, {**FRESH, "augment": "crop"}], ids=["full", "fresh"])
def test_pictures_varied_on_the_device_teach_what_they_would_from_the_processor(
    begin: Callable[..., Run], way: dict[str, Any]
) -> None:
    """The first loss within 1e-3, those of the epoch within 2e-2: BatchNorm of four pictures makes much of a rounded
    pixel, and ten times as much of another hue. A resume has the same bits."""
    knobs = {
        **{**way, "epochs": 2, "batchnorm": "train", "head_init": "default", "learning_rate": 1e-5, "rotate": 15.0},
        **{"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grayscale": 0.2, "blur": 1.5},
        "erase": 0.3,
    }
    other = begin(vary_on="device", **{**knobs, "hue": 0.2})
    go(other, 1)
    alone, whole, parted = (begin(vary_on=place, **knobs) for place in ("processor", "device", "device"))
    go(alone)
    go(whole)
    go(parted, 3)
    go(parted, 7)
    go(parted)
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert parted.best.read_bytes() == whole.best.read_bytes()
    assert figures(parted.history()) == figures(whole.history())
    assert alone.last.read_bytes() != whole.last.read_bytes()
    told: list[list[Any]] = [[step.loss for step in run.history().steps] for run in (alone, whole, other)]
    from_threads, from_batches, otherwise = told
    assert from_batches[0] == pytest.approx(from_threads[0], abs=1e-3)
    assert from_batches[:STEPS] == pytest.approx(from_threads[:STEPS], abs=2e-2)
    assert abs(otherwise[0] - from_threads[0]) > 1e-2


def test_where_pictures_were_varied_stands_in_the_run_and_a_resume_keeps_it(begin: Callable[..., Run]) -> None:
    begun = begin(**FULL)
    go(begun, 3)
    assert begun.resolved().vary_on == "processor"
    stored = begun.read("config.json")
    moved = {**stored, "resolved": {**stored["resolved"], "vary_on": "device"}}  # as a run on a card has it
    begun.write("config.json", moved)
    whole = begin(vary_on="device", **FULL)
    go(whole)
    go(begun)
    assert begun.last.read_bytes() == whole.last.read_bytes(), "crops and mirrors are the same to the bit"
    assert begun.resolved().vary_on == "device"


def test_a_run_that_began_without_a_word_of_where_pictures_are_varied_goes_on_as_it_did(
    begin: Callable[..., Run],
) -> None:
    run = begin(**FULL)
    go(run, 3)
    stored = run.read("config.json")
    del stored["resolved"]["vary_on"]
    run.write("config.json", stored)
    config, _ = setup.fix(run.config(), run, devices.open_device(run.config()))
    assert config.vary_on == "processor"


# Decoded pictures in memory


@pytest.mark.parametrize("way", [FRESH, FULL, {**SCRATCH, "augment": "flip"}], ids=["fresh", "full", "flip"])
def test_pictures_kept_in_memory_change_no_bit(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    """All of them kept, a part of them, none; and all of them by a run that was stopped on the way."""
    decoded = Counter[str]()

    def counted(file: Path, *, at_least: int) -> Any:
        decoded[current] += 1
        return read(file, at_least=at_least)

    monkeypatch.setattr("ftlab.training.picture_feed.read", counted)
    monkeypatch.setattr("ftlab.training.picture_feed.Decoded", lambda budget: Decoded(budget // 1000))  # in kB, that is
    budgets = {"all": 10_000, "part": 300, "none": 0, "resumed": 10_000}
    made = {name: begin(keep_decoded=budget, workers=2, **way) for name, budget in budgets.items()}
    for current, run in made.items():
        if current == "resumed":
            go(run, 7)
        assert end(go(run)).reason == "finished"
    assert decoded["all"] == 21, "18 to learn from and 3 to validate with, once"
    assert decoded["none"] == 3 * 18 + 4 * 3
    assert decoded["all"] < decoded["part"] < decoded["none"]
    for run in made.values():
        assert run.last.read_bytes() == made["none"].last.read_bytes()
        assert run.best.read_bytes() == made["none"].best.read_bytes()
        assert figures(run.history()) == figures(made["none"].history())


def test_the_memory_for_decoded_pictures_is_told_in_the_run(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.machine.free_memory", lambda: 64_000_000)
    for way, megabytes in ((FULL, 32), (CACHED, 0), ({**FULL, "keep_decoded": 5}, 5)):
        run = begin(epochs=1, **way)
        go(run)
        assert run.resolved().keep_decoded == megabytes


def test_a_picture_that_was_changed_meanwhile_is_seen_as_it_is_then(
    begin: Callable[..., Run], tiny_folder: Path
) -> None:
    """With pictures in memory as without."""
    states = []
    for budget in (100, 0):
        run = begin(keep_decoded=budget, workers=1, **FRESH)
        told = train(run.config(), run, weights=False)
        run.append(next(told))
        first, other = (tiny_folder / from_json(run.read("split.json")).splits["train"][i].path for i in (0, 9))
        kept = first.read_bytes()
        for event in told:
            run.append(event)
            if isinstance(event, Epoch) and event.epoch == 1:
                first.write_bytes(other.read_bytes())
        first.write_bytes(kept)
        states.append(run.last.read_bytes())
    assert states[0] == states[1]
    plain = begin(workers=1, **FRESH)
    go(plain)
    assert plain.last.read_bytes() != states[0]


# Room on the disk


def test_a_training_that_the_disk_has_no_room_for_is_not_begun(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(**FULL)
    monkeypatch.setattr("ftlab.training.checkpoint.disk.free", lambda folder: 40_000_000)
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.space"
    said = str(caught.value)
    # MobileNetV2 with three classes takes 9 MB: the best, three states of three times that, and 16 MB for the rest.
    assert "writes up to 106 MB" in said
    assert "40 MB are free" in said
    assert not run.best.exists()


def test_a_frozen_training_needs_little_room(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftlab.training.checkpoint.disk.free", lambda folder: 40_000_000)
    assert end(go(begin(epochs=1))).reason == "finished"
