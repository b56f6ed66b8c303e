"""The loop in three phases: the head alone, the upper layers on cached activations, then all layers on the images."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ftlab.core import messages
from ftlab.data.dataset import from_config
from ftlab.models import weights_file
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Step
from ftlab.training import preparation
from ftlab.training.feeds.features import FeatureFeed
from ftlab.training.loop import train
from tests.support.short_trainings import STEPS, UPPER, changed, end, figures, go, only, scored

THREE = {
    **UPPER,
    **{"epochs": 6, "unfreeze_epoch": 2, "unfreeze_all_epoch": 4, "phase2_lr": 2e-3, "phase3_lr": 5e-4},
    **{"learning_rate": 1e-3, "head_lr_multiplier": 1.0, "warmup_fraction": 0.0},
}
HEAD = {"head.weight", "head.bias"}


@pytest.fixture(params=["cached", "fresh"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def train_watching(run: Run, seen: dict[str, Any]) -> tuple[list[Any], dict[int, set[str]]]:
    """Events of a whole training, and after each epoch the names of what has changed since the beginning."""
    events, moved = [], {}
    for event in train(run.load_config(), run, pretrained=False):
        events.append(event)
        if isinstance(event, Epoch):
            moved[event.epoch] = changed(seen)
    return events, moved


def test_each_phase_trains_more_layers_than_the_one_before(
    begin: Callable[..., Run], seen: dict[str, Any], way: str
) -> None:
    events, moved = train_watching(begin(**{**THREE, "activations": way}), seen)
    assert end(events).reason == "finished"
    assert moved[1] == moved[2] == HEAD
    upper = {name for name in moved[4] if name.startswith("backbone.")}
    assert upper
    assert all(name.startswith("backbone.layer4") for name in upper)
    assert moved[4] < moved[5]
    weights = {name for name, parameter in seen["net"].named_parameters()}
    assert weights - moved[6] == set(), "all are trained"


def test_the_log_tells_of_both_turns(begin: Callable[..., Run], way: str) -> None:
    notes = only(go(begin(**{**THREE, "activations": way})), LogMessage)
    turns = [note for note in notes if note.code in ("fine_tuning", "all_layers")]
    assert [(note.code, note.values["epoch"], note.values["step"]) for note in turns] == [
        *[("fine_tuning", 3, 2 * STEPS), ("all_layers", 5, 4 * STEPS)]
    ]
    assert "all layers are trained" in messages.get_text("log.all_layers", **turns[1].values)


def test_each_phase_has_its_rate_and_the_whole_schedule(begin: Callable[..., Run]) -> None:
    rates = [step.learning_rate for step in only(go(begin(**THREE)), Step)]
    phases = [rates[start : start + 2 * STEPS] for start in (0, 2 * STEPS, 4 * STEPS)]
    assert [phase[0] for phase in phases] == pytest.approx([1e-3, 2e-3, 5e-4])
    assert [rate / 2 for rate in phases[1]] == pytest.approx(phases[0])
    assert [2 * rate for rate in phases[2]] == pytest.approx(phases[0])


def test_without_a_head_phase_the_upper_layers_are_the_first(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(**{**THREE, "unfreeze_epoch": 0, "unfreeze_all_epoch": 1, "epochs": 2, "phase3_lr": 0.0})
    events, moved = train_watching(run, seen)
    assert HEAD < moved[1] < moved[2]
    assert [step.learning_rate for step in only(events, Step)][::STEPS] == pytest.approx([1e-3, 2e-3])


@pytest.mark.parametrize(
    ("stops", "more"),
    [
        ((10,), {}),
        ((20,), {}),
        ((23,), {"augment_device": "gpu"}),
        *(((stops), {"ema_decay": 0.9, "optimizer": "sgd", "mixup": 0.2}) for stops in ((13,), (20,), (21, 28))),
    ],
    ids=str,
)
def test_a_resume_anywhere_is_the_undisturbed_run_to_the_bit(
    begin: Callable[..., Run], stops: tuple[int, ...], more: dict[str, Any]
) -> None:
    whole, parted = begin(**THREE, **more), begin(**THREE, **more)
    go(whole)
    for stop_at in (*stops, None):
        go(parted, stop_at)
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert figures(parted.load_history()) == figures(whole.load_history())


def test_a_resume_of_the_last_phase_computes_no_activations(begin: Callable[..., Run]) -> None:
    run = begin(**THREE)
    go(run, stop_at=23)
    codes = {note.code for note in only(go(run), LogMessage)}
    assert not codes & {"activations_plan", "activations", "activations_kept"}


def test_images_that_cannot_be_read_stay_left_out_when_images_are_read_again(begin: Callable[..., Run]) -> None:
    whole, parted = (begin(**THREE, class_weights="balanced") for _ in range(2))
    catalog = from_config.resolve_dataset(whole.load_config())
    for item in catalog.splits["train"][:2]:
        catalog.image_path(item).unlink()

    def go_on(run: Run, stop_at: int | None = None) -> list[Any]:
        run.liveness.clear_stop()
        events = []
        for event in train(run.load_config(), run, pretrained=False, catalog=catalog):
            events.append(event)
            if isinstance(event, Step) and event.step == stop_at:
                run.liveness.request_stop()
        return events

    events = go_on(whole)
    fewer_steps = STEPS - 1
    rates = {step.step: step.learning_rate for step in only(events, Step)}
    assert rates[4 * fewer_steps + 1] == pytest.approx(5e-4), "the schedule counts the steps of its own phase"
    assert max(rates) == 4 * fewer_steps + 2 * STEPS
    for stop_at in (4 * fewer_steps, 4 * fewer_steps + 3, None):
        go_on(parted, stop_at)
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()


@pytest.mark.parametrize("best", [1, 3, 4, 5])
def test_the_best_epoch_is_that_of_any_phase(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any], best: int
) -> None:
    scored(monkeypatch, [0.9 if epoch == best else 0.5 for epoch in range(7)])
    run = begin(**THREE, ema_decay=0.9)
    assert end(go(run)).best_epoch == best
    saved, header = weights_file.load_tensors(run.best_weights_path)
    assert header["epoch"] == best
    assert set(saved) == set(seen["net"].state_dict())
    stem = next(name for name in saved if name.startswith("backbone.") and name.endswith("weight"))
    assert torch.equal(saved[stem], seen["before"][stem]) == (best < 5)


def test_early_stopping_waits_for_all_layers(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [0.9, 0.3, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2])
    last = end(go(begin(**{**THREE, "epochs": 9}, early_stopping_patience=2)))
    assert (last.reason, last.epoch) == ("early", 6)


def test_the_activations_are_let_go_with_their_phase(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds: list[weakref.ref[FeatureFeed]] = []

    def create_feed(*arguments: Any) -> FeatureFeed:
        feed = FeatureFeed(*arguments)
        feeds.append(weakref.ref(feed))
        return feed

    monkeypatch.setattr(preparation, "FeatureFeed", create_feed)
    run = begin(**THREE)
    for event in train(run.load_config(), run, pretrained=False):
        if isinstance(event, Epoch):
            gc.collect()
            assert (feeds[0]() is None) == (event.epoch > 4)
