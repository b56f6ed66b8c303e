"""The loop in phases: first the head alone, then what is above a layer, or block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models import weights_file
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Started, Step
from ftlab.training.loop import train
from tests.support.short_trainings import FRESH, FULL, MOBILENET, STEPS, changed, end, figures, go, only, scored

TWO_PHASES = {
    **{"mode": "full", "epochs": 5, "unfreeze_epoch": 2, "learning_rate": 1e-3, "head_lr_multiplier": 1.0},
    **{"phase2_optimizer": "rmsprop", "phase2_lr": 2e-3, "schedule": "constant", "warmup_fraction": 0.0},
}


def test_after_the_head_alone_fine_tuning_starts_with_its_optimizer_and_rate(
    begin: Callable[..., Run], seen: dict[str, Any]
) -> None:
    run = begin(**TWO_PHASES, backbone=MOBILENET, unfreeze_from="features.12.conv.1", batchnorm="frozen")
    events, moved = [], {}
    for event in train(run.load_config(), run, pretrained=False):
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
    assert type(seen["optimizer"]).__name__ == "KerasRMSprop"
    (note,) = only(events, LogMessage)
    assert (note.code, note.values["epoch"], note.values["step"]) == ("fine_tuning", 3, 2 * STEPS)
    assert only(events, Started)[0].trainable == 3 * 1281
    assert "Fine-tuning starts" in messages.get_text("log.fine_tuning", **note.values)


def test_each_phase_has_the_whole_schedule_to_itself(begin: Callable[..., Run]) -> None:
    run = begin(mode="full", epochs=4, unfreeze_epoch=2, learning_rate=1e-3, warmup_fraction=0.0)
    rates = [step.learning_rate for step in only(go(run), Step)]
    assert rates[: 2 * STEPS] == rates[2 * STEPS :]
    assert rates[0] == pytest.approx(1e-2)


def test_block_by_block_the_log_says_what_learns(begin: Callable[..., Run], seen: dict[str, Any]) -> None:
    run = begin(
        **{"mode": "full", "epochs": 4, "unfreeze_epoch": 1, "gradual_unfreezing": True},
        **{"learning_rate": 1e-3, "optimizer": "sgd", "backbone": MOBILENET},
    )
    notes = only(go(run), LogMessage)
    assert [(note.code, note.values["epoch"]) for note in notes] == [
        *[("fine_tuning", 2), ("unfrozen", 3), ("unfrozen", 4)]
    ]
    assert [note.values.get("block") for note in notes] == [None, "features.17.conv", "features.16.conv"]
    assert {key.split(".")[2] for key in changed(seen) if key.startswith("backbone")} == {"16", "17", "18"}
    assert all(messages.get_text(f"log.{note.code}", **note.values) for note in notes)


@pytest.mark.parametrize("stops", [(7,), (10,), (13, 18)], ids=["first phase", "at the turn", "second phase"])
@pytest.mark.parametrize(
    "more", [{}, {"gradual_unfreezing": True, "ema_decay": 0.9, "schedule": "plateau"}], ids=["plain", "gradual"]
)
def test_a_resume_in_either_phase_is_the_undisturbed_run_to_the_bit(
    begin: Callable[..., Run], stops: tuple[int, ...], more: dict[str, Any]
) -> None:
    whole, parted = begin(**{**TWO_PHASES, "epochs": 4, **more}), begin(**{**TWO_PHASES, "epochs": 4, **more})
    go(whole)
    for stop_at in (*stops, None):
        go(parted, stop_at)
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert figures(parted.load_history()) == figures(whole.load_history())


def test_another_seed_of_the_head_starts_it_otherwise_on_the_same_split(begin: Callable[..., Run]) -> None:
    made = [begin(epochs=1, head_init="default", **settings) for settings in ({}, {"head_seed": 0}, {"head_seed": 1})]
    for run in made:
        go(run)
    same, zero, one = (weights_file.load_tensors(run.best_weights_path)[0]["head.weight"] for run in made)
    assert torch.equal(same, zero), "the seed is 0 where nothing is said"
    assert not torch.allclose(zero, one, atol=1e-3)
    assert len({run.read_json("config.json")["manifest"] for run in made}) == 1


def test_early_stopping_waits_for_the_last_phase(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(**{**TWO_PHASES, "epochs": 9, "unfreeze_epoch": 3}, early_stopping_patience=2)
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
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
