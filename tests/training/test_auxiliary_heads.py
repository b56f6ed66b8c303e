"""Auxiliary classifiers: they help in training as published, and play no part elsewhere."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.inference import load_model
from ftlab.models import freezing, network, weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Started, Step
from ftlab.training.loop import train
from tests.support.random_networks import tiled_draws

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"googlenet": 64, "inception_v3": 299}
"""Sides in pixels that are quick where the inner classifiers allow it: Inception's need all of theirs."""


@pytest.fixture(autouse=True)
def weights_of_pieces() -> Iterator[None]:
    """Both networks draw their random weights by a slow distribution, which nothing here depends on."""
    with tiled_draws():
        yield


@pytest.fixture(params=list(SMALL))
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    spec = backbones.get_backbone_spec(request.param)
    side = SMALL[request.param]
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=side, resize=side + 8))
    return spec.name


def settings(folder: Path, name: str, mode: str, **fields: object) -> TrainConfig:
    facts = {"epochs": 1, "batch_size": 8, "augment": "none", "torch_num_threads": 1, "learning_rate": 1e-3, **fields}
    return TrainConfig(data=str(folder), backbone=name, mode=mode, **facts)  # type: ignore[arg-type]


def trained(root: Path, config: TrainConfig) -> tuple[Run, dict[str, Tensor]]:
    """A run with random weights, and what was kept of it last."""
    run = run_store.create_run(root, config)
    for event in train(config, run, pretrained=False):
        run.append_event(event)
    tensors, _ = weights_file.load_tensors(run.last_checkpoint_path)
    return run, {key.removeprefix("module."): value for key, value in tensors.items()}


def test_their_losses_count_as_published() -> None:
    assert (
        backbones.get_backbone_spec("googlenet").auxiliary_weight == 0.3
    )  # Szegedy et al., 2014, arXiv:1409.4842, section 5
    assert backbones.get_backbone_spec("inception_v3").auxiliary_weight == 0.4  # PyTorch's fine-tuning tutorial


def test_while_it_trains_it_answers_with_each_and_else_with_its_own_alone(name: str) -> None:
    spec = backbones.get_backbone_spec(name)
    net = network.build_network(spec, 3, pretrained=False)
    batch = torch.randn(2, 3, spec.side, spec.side)
    freezing.set_train_flags(net)
    assert [tuple(one.shape) for one in network.as_logits_tuple(net(batch))] == [(2, 3)] * (1 + len(spec.auxiliary))
    network.freeze_by_mode(net, "frozen")
    freezing.set_train_flags(net)
    assert tuple(net(batch).shape) == (2, 3)
    assert tuple(net.eval()(batch).shape) == (2, 3)


def test_the_order_of_the_answers_is_that_of_the_table(name: str) -> None:
    spec = backbones.get_backbone_spec(name)
    net = network.build_network(spec, 3, pretrained=False).train()
    for number, head in enumerate(net.auxiliary):
        changed = copy.deepcopy(net)
        torch.manual_seed(0)
        before = network.as_logits_tuple(net(torch.ones(2, 3, spec.side, spec.side)))
        inner = changed.backbone.get_submodule(spec.auxiliary[number].rpartition(".")[0])
        for parameter in inner.parameters():
            parameter.data.zero_()
        torch.manual_seed(0)
        after = network.as_logits_tuple(changed(torch.ones(2, 3, spec.side, spec.side)))
        told = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert told == [other == number + 1 for other in range(1 + len(net.auxiliary))]
        assert head.in_features == spec.auxiliary_widths[number]


def test_a_step_follows_the_weighted_sum_of_the_losses(name: str, tiny_folder: Path, tmp_path: Path) -> None:
    for file in tiny_folder.rglob("*_[4-7].*"):  # twelve pictures are left
        file.unlink()
    config = settings(tiny_folder, name, "scratch", optimizer="sgd", momentum=0.0, weight_decay=0.0, batch_size=64)
    config = dataclasses.replace(config, schedule="constant", warmup_fraction=0.0, val_share=0.3)
    run, after = trained(tmp_path / "runs", config)
    # The same step by hand, from the same weights, pictures and dropout.
    spec = backbones.get_backbone_spec(name)
    net = network.build_network(spec, 3, pretrained=False, seed=0)
    freezing.set_train_flags(net)
    inputs, labels = only_batch(run, config)
    torch.manual_seed(0)
    own, *inner = [F.cross_entropy(one, labels) for one in network.as_logits_tuple(net(inputs))]
    (own + spec.auxiliary_weight * torch.stack(inner).sum()).backward()
    for key, before in net.named_parameters():
        if key.startswith(("head.", "auxiliary.")):
            assert before.grad is not None
            step = after[key] - before.detach()
            assert float((step + 1e-3 * before.grad).abs().max()) <= 1e-2 * float(step.abs().max())


def only_batch(run: Run, config: TrainConfig) -> tuple[Tensor, Tensor]:
    from accelerate import Accelerator

    from ftlab.data.dataset import catalog
    from ftlab.data.transforms import preprocess
    from ftlab.training.feeds.images import ImageFeed

    feed = ImageFeed(
        catalog.catalog_from_json(run.read_json("split.json")),
        preprocess.from_spec(backbones.get_backbone_spec(config.backbone)),
        config,
        Accelerator(cpu=True),
    )
    (share,) = feed.iter_train_batches(1)
    return share.inputs, share.labels


def test_they_are_kept_for_a_resume_and_a_prediction_does_without(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = backbones.get_backbone_spec("googlenet")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=64, resize=72))
    config = settings(tiny_folder, spec.name, "scratch")
    whole, expected = trained(tmp_path / "whole", config)
    part = run_store.create_run(tmp_path / "part", config)
    for stopping in (True, False):
        for event in train(config, part, pretrained=False):
            part.append_event(event)
            if stopping and isinstance(event, Step):
                part.liveness.request_stop()
        part.liveness.clear_stop()
    assert [event.reason for event in part.read_events()[0] if isinstance(event, Ended)] == ["stopped", "finished"]
    found, _ = weights_file.load_tensors(part.last_checkpoint_path)
    keys = [key for key in expected if key.startswith("auxiliary.")]
    assert keys == ["auxiliary.0.bias", "auxiliary.0.weight", "auxiliary.1.bias", "auxiliary.1.weight"]
    assert all(torch.equal(found[f"module.{key}"], expected[key]) for key in keys)
    started = next(event for event in part.read_events()[0] if isinstance(event, Started))
    assert (started.trainable, started.total) == backbones.count_parameters(spec, 3, "scratch")
    picture = next(tiny_folder.rglob("*.png"))
    assert len(load_model.load_predictor(whole).predict_and_explain(picture)[0]) == 3


def test_in_frozen_mode_they_do_not_learn(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = backbones.get_backbone_spec("googlenet")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=64, resize=72))
    run, _ = trained(tmp_path / "runs", settings(tiny_folder, spec.name, "frozen", features="fresh"))
    started = next(event for event in run.read_events()[0] if isinstance(event, Started))
    assert (started.trainable, started.total) == backbones.count_parameters(spec, 3, "frozen")
    kept, _ = weights_file.load_tensors(run.best_weights_path)
    fresh = network.build_network(backbones.get_backbone_spec(spec.name), 3, pretrained=False, seed=0).state_dict()
    inner = [key for key in fresh if key.startswith(("auxiliary.", "backbone.aux"))]
    assert len(inner) > 10
    assert all(torch.equal(kept[key], fresh[key]) for key in inner)
