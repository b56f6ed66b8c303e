"""The loop on activations of the frozen layers: computed once, and only what lies above is trained."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ftlab.config.backbones import DEFAULT_BACKBONE
from ftlab.core import file_io, messages
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.models.activations import mapped_rows
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Started, Step
from ftlab.training.loop import train
from tests.support.short_trainings import FULL, MOBILENET, UPPER, changed, end, go, only


def notes(events: list[Any]) -> dict[str, LogMessage]:
    return {note.code: note for note in only(events, LogMessage)}


def test_only_the_layers_above_the_boundary_move(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(**UPPER, backbone=MOBILENET)
    events = go(run)
    assert end(events).reason == "finished"
    blocks = {name.split(".")[2] for name in changed(seen) if name.startswith("backbone.")}
    assert blocks == {"15", "16", "17", "18"}
    assert {"head.weight", "head.bias"} <= changed(seen)
    assert only(events, Started)[0].trainable < only(events, Started)[0].total
    (plan,) = [note for note in only(events, LogMessage) if note.code == "activations_plan"]
    assert plan.values == {"block": "features.15", "views": 18 * 2 + 3, "kilobytes": 1, "megabytes": 1}
    assert "features.15" in messages.get_text("log.activations_plan", **plan.values)
    assert notes(events)["activations"].values["images"] == 21


def test_the_best_weights_are_those_of_a_whole_network(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(**UPPER, ema_decay=0.9)
    go(run)
    saved = weights_file.load_tensors(run.best_weights_path)[0]
    assert set(saved) == set(seen["net"].state_dict())
    frozen = {name for name, p in seen["net"].named_parameters() if not p.requires_grad}
    assert frozen
    for name in frozen:
        assert torch.equal(saved[name], seen["before"][name]), name


@pytest.mark.parametrize("settings", [{}, {"batchnorm": "trainable"}, {"ema_decay": 0.9, "optimizer": "sgd"}])
def test_without_augmentation_it_learns_what_a_training_without_the_cache_learns(
    begin: Callable[..., Run], settings: dict[str, Any]
) -> None:
    cached, fresh = (
        [
            event
            for event in go(begin(**{**UPPER, "augment": "none", "activations": way, **settings}))
            if isinstance(event, (Epoch, Step))
        ]
        for way in ("cached", "fresh")
    )
    assert len(cached) == len(fresh) > 10
    for ours, theirs in zip(cached, fresh, strict=True):
        loss = "loss" if isinstance(ours, Step) else "val_loss"
        # Half precision keeps three digits.
        assert getattr(ours, loss) == pytest.approx(getattr(theirs, loss), abs=5e-3)


def test_in_two_phases_the_head_learns_first(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(**UPPER, epochs=4, unfreeze_epoch=2, phase2_lr=1e-3)
    moved = {}
    for event in train(run.load_config(), run, pretrained=False):
        if isinstance(event, Epoch):
            moved[event.epoch] = changed(seen)
    assert moved[2] == {"head.weight", "head.bias"}
    assert any(name.startswith("backbone.layer4") for name in moved[4])


def test_block_by_block_the_boundary_is_the_lowest_of_all(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(**{**UPPER, "unfreeze_from": "layer3"}, epochs=4, unfreeze_epoch=1, gradual_unfreezing=True)
    events = go(run)
    assert end(events).reason == "finished"
    assert str(notes(events)["activations_plan"].values["block"]).startswith("layer")
    assert not any(name.startswith("backbone.layer2") for name in changed(seen))


def test_a_later_run_finds_what_an_earlier_one_computed(begin: Callable[..., Run]) -> None:
    settings = {**UPPER, "backbone": DEFAULT_BACKBONE, "image_size": 64, "resize": 64, "epochs": 1}
    first, again, lower = (
        notes(list(train(run.load_config(), run)))
        for run in (
            begin(**settings),
            begin(**settings, head_init="xavier"),
            begin(**{**settings, "unfreeze_from": "blocks.5"}),
        )
    )
    assert first["activations"].values["images"] == 21
    assert again["activations_kept"].values == {"kept": 21, "images": 21}
    assert "activations" not in again
    assert "activations_kept" not in lower, "another boundary"


def test_a_backbone_that_cannot_be_divided_trains_without_the_cache(begin: Callable[..., Run]) -> None:
    run = begin(**UPPER, epochs=1, backbone="googlenet", image_size=96, resize=96)
    events = go(run)
    assert end(events).reason == "finished"
    assert notes(events)["activations_backbone"].level == "warning"
    assert run.load_resolved_config().activations == "fresh"


def test_a_full_disk_is_noticed_before_it_is_written_to(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _: 1 << 30)
    events = go(begin(**UPPER), stop_at=1)
    assert "MB are free" in messages.get_text("log.activations_disk", **notes(events)["activations_disk"].values)


def test_a_table_that_cannot_be_written_ends_in_one_line(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped_rows, "allocate_mapped", refuse)
    with pytest.raises(RunError, match=r"home.*No space left"):
        go(begin(**UPPER))


def test_more_than_the_cache_may_hold_is_computed_in_each_step(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_FEATURES_MB", "0")
    run = begin(**UPPER)
    events = go(run, stop_at=7)
    warning = notes(events)["activations_budget"]
    assert "FTLAB_FEATURES_MB" in messages.get_text("log.activations_budget", **warning.values)
    assert run.load_resolved_config().activations == "fresh"
    monkeypatch.delenv("FTLAB_FEATURES_MB")
    assert "activations_plan" not in notes(go(run)), "a resume goes on as the run began"
    assert len(run.load_history().epochs) == 4


def test_a_run_that_trains_all_layers_has_no_plan(begin: Callable[..., Run]) -> None:
    assert "activations_plan" not in notes(go(begin(**FULL), stop_at=1))
