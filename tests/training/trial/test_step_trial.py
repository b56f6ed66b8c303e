"""The trial before the start: what cannot be trained is refused in one line, and nothing else changes."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core.errors import ConfigError, ImageError
from ftlab.models import freezing, network
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Started, Step
from ftlab.training import loop
from ftlab.training.feeds import images
from ftlab.training.trial import step_trial, trial_cache
from ftlab.training.trial.batch_sizes import compute_forward_sizes, compute_micro_batch_size
from ftlab.training.trial.step_trial import TrialResult, run_trial
from tests.support.random_networks import tiled_draws
from tests.support.short_trainings import CACHED, FRESH, FULL, SCRATCH, end, go, only
from tests.support.tiny_backbone import TINY

pytestmark = pytest.mark.usefixtures("one_thread")

MODES = pytest.mark.parametrize("mode", [CACHED, FRESH, FULL, SCRATCH], ids=["cached", "fresh", "full", "scratch"])
SETTINGS: dict[str, Any] = {"backbone": TINY.name, "batch_size": 4, "epochs": 2}


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones.BACKBONES, TINY.name, TINY)


def try_step(
    net: Network, accelerator: Accelerator, sizes: tuple[int, int], side: int = 32, **more: Any
) -> TrialResult:
    config = fill_defaults(TrainConfig(**{**SETTINGS, "mode": "scratch", **more}))
    return run_trial(net, backbones.get_backbone_spec(config.backbone), config, side, sizes, accelerator)


@pytest.mark.parametrize(
    "mode",
    [CACHED, FRESH, FULL, SCRATCH, {**FRESH, "batchnorm": "train"}],
    ids=["cached", "fresh", "full", "scratch", "moving statistics"],
)
def test_it_leaves_no_trace(accelerator: Accelerator, mode: dict[str, Any]) -> None:
    net = network.build_network(TINY, 3, pretrained=False)
    before, flags = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    trainable = [parameter.requires_grad for parameter in net.parameters()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try_step(net, accelerator, (2, 4), dropout=0.5, **mode)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == flags
    assert [parameter.requires_grad for parameter in net.parameters()] == trainable
    assert all(parameter.grad is None for parameter in net.parameters())
    assert random.getstate() == states[0]
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), states[1], strict=True))
    assert torch.equal(torch.get_rng_state(), states[2])


@MODES
def test_a_training_with_it_ends_with_the_same_bits_as_one_without(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]
) -> None:
    with_trial, without_trial = begin(epochs=1, dropout=0.3, **mode), begin(epochs=1, dropout=0.3, **mode)
    go(with_trial)
    monkeypatch.setattr(step_trial, "run_trial", lambda *_: TrialResult())
    go(without_trial)
    assert with_trial.last_checkpoint_path.read_bytes() == without_trial.last_checkpoint_path.read_bytes()


def test_one_image_is_enough_where_the_last_map_has_several_values(accelerator: Accelerator) -> None:
    net = network.build_network(TINY, 3, pretrained=False)
    assert try_step(net, accelerator, (1, 1), side=64).min_batch_size == 1
    assert try_step(net, accelerator, (4, 4)).min_batch_size == 2


def test_one_image_is_refused_where_the_last_map_has_one_value(begin: Callable[..., Run]) -> None:
    run = begin(batch_size=1, **SCRATCH)
    with pytest.raises(ConfigError) as caught:
        go(run)
    line = str(caught.value)
    assert "cannot train on a single picture of 32 × 32 pixels at a time" in line
    assert "Set --batch-size to at least 2." in line
    assert "\n" not in line
    # The remedy works, and so does a backbone that does not train.
    assert end(go(begin(batch_size=2, epochs=1, **SCRATCH))).reason == "finished"
    assert end(go(begin(batch_size=1, epochs=1, **FRESH))).reason == "finished"
    assert end(go(begin(batch_size=1, epochs=1, **CACHED))).reason == "finished"
    assert end(go(begin(batch_size=1, epochs=1, image_size=64, **SCRATCH))).reason == "finished"


def test_it_tries_what_is_only_trained_later(begin: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError, match="single picture"):
        go(begin(batch_size=1, unfreeze_epoch=2, epochs=3, batchnorm="trainable", **FULL))


def test_both_remedies_are_named_where_both_help(accelerator: Accelerator) -> None:
    spec = dataclasses.replace(TINY, side=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, TINY.name, spec)
        with pytest.raises(ConfigError, match="at least 2, or leave --image-size empty: the default is 64 × 64"):
            try_step(network.build_network(spec, 3, pretrained=False), accelerator, (1, 1), batch_size=1)


def test_a_batch_too_large_for_the_memory_is_not_refused(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Network.forward

    def limited(net: Network, pictures: torch.Tensor) -> Any:
        if len(pictures) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(net, pictures)

    monkeypatch.setattr(Network, "forward", limited)
    assert try_step(network.build_network(TINY, 3, pretrained=False), accelerator, (4, 4)) == TrialResult(2, True, 0.0)


# Auxiliary classifiers


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch) -> str:
    spec = backbones.get_backbone_spec("inception_v3")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=128, resize=136))
    return spec.name


def test_auxiliary_classifiers_are_left_out_of_pictures_that_are_too_small(
    begin: Callable[..., Run], inception: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tiled_draws():
        run = begin(backbone=inception, batch_size=9, epochs=1, augment="none", **SCRATCH)
        events = []
        for event in loop.train(run.load_config(), run, pretrained=False):
            run.append_event(event)
            events.append(event)
            if isinstance(event, Step):
                run.liveness.request_stop()
        run.liveness.clear_stop()
        assert [note.level for note in only(events, LogMessage) if note.code == "no_auxiliary"] == ["warning"]
        nominal, _ = backbones.count_parameters(backbones.get_backbone_spec(inception), 3, "scratch")
        (started,) = only(events, Started)
        assert started.trainable < nominal
        # A resumed training leaves them out even where the trial would let them take part.
        monkeypatch.setattr(step_trial, "run_trial", lambda *_: TrialResult())
        resumed = go(run)
        assert end(resumed).reason == "finished"
        assert only(resumed, Started)[0].trainable == started.trainable
        assert not [note for note in only(resumed, LogMessage) if note.code == "no_auxiliary"]


def test_a_network_without_its_auxiliary_classifiers_trains_all_else() -> None:
    spec = backbones.get_backbone_spec("googlenet")
    with tiled_draws():
        net = network.build_network(spec, 3, pretrained=False)
    net.uses_auxiliary = False
    freezing.freeze_for_epoch(net, TrainConfig(backbone=spec.name, mode="scratch"), 1)
    freezing.set_train_flags(net)
    net(torch.zeros(2, 3, 64, 64)).sum().backward()
    without_gradient = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    assert without_gradient == {
        name for name, _ in net.named_parameters() if name.startswith(("auxiliary.", "backbone.aux"))
    }
    norms = {name: module for name, module in net.backbone.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert all(module.training == (not name.startswith("aux")) for name, module in norms.items())


# Once is enough


def test_a_trial_that_passed_is_not_repeated(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_cache, "MIN_CACHED_SECONDS", 0.0)
    go(begin(epochs=1, **FULL))
    trials: list[object] = []

    def count_trial(*arguments: object) -> TrialResult:
        trials.append(arguments)
        return TrialResult()

    monkeypatch.setattr(step_trial, "run_trial", count_trial)
    go(begin(epochs=1, **FULL))
    assert not trials
    go(begin(epochs=1, batch_size=5, **FULL))
    monkeypatch.setattr(trial_cache, "version", lambda _package: "another version")
    go(begin(epochs=1, **FULL))
    assert len(trials) == 2


# Batches that lose their images


def test_a_step_whose_images_are_gone_but_one_is_left_out_where_one_is_too_few(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = images.ImageFeed._load_train_image, list[int]()

    def damaged(feed: images.ImageFeed, epoch: int, index: int) -> torch.Tensor:
        reads.append(index)
        if index % 2:
            raise ImageError("unreadable", file=f"{index}.png")
        return read(feed, epoch, index)

    monkeypatch.setattr(images.ImageFeed, "_load_train_image", damaged)
    events = go(begin(epochs=1, batch_size=2, augment="none", **SCRATCH))
    assert end(events).reason == "finished"
    notes = [note.values["step"] for note in only(events, LogMessage) if note.code == "lone_image"]
    assert notes
    assert len(only(events, Epoch)) == 2


@pytest.mark.parametrize(
    ("images", "batch_size", "accumulated", "ranks", "expected"),
    [
        (33, 32, 1, 1, (33, 33)),  # a last image joins the batch before
        (35, 32, 1, 1, (3, 32)),
        (5, 1, 1, 1, (1, 2)),
        (8, 1, 4, 1, (1, 1)),
        (65, 32, 2, 1, (32, 32)),
        (35, 32, 1, 2, (2, 16)),  # of the last three images each rank has two
        (8, 2, 1, 2, (2, 2)),  # each rank borrows the other's
        (1, 8, 1, 1, (1, 1)),
    ],
)
def test_the_sizes_are_those_of_an_epoch(
    images: int, batch_size: int, accumulated: int, ranks: int, expected: tuple[int, int]
) -> None:
    config = TrainConfig(batch_size=batch_size, grad_accum_steps=accumulated)
    micro_batch_size = compute_micro_batch_size(config, ranks)
    assert compute_forward_sizes(images, config, ranks, micro_batch_size) == expected
