"""Classes that are ImageNet's by name start as what the backbone already knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from ftlab.cli.terminal import progress
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import heads, network, weights_file
from ftlab.models.pretrained import imagenet_classes, weights
from ftlab.runs import run_store
from ftlab.runs.events import Epoch, LogMessage
from ftlab.training.loop import train


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("ants", 310),
        ("bees", 309),
        ("ant", 310),
        ("hotdog", 934),
        ("hot dog", 934),
        ("Hot_Dogs", 934),
        ("hotdog, hot dog, red hot", 934),
        ("red hot", 934),
        ("school bus", 779),
        ("School-Buses", 779),
        ("n01440764", 0),
        ("tench", 0),
        ("Great White Sharks", 2),
        ("strawberries", 949),
        ("grey_wolves", 269),
        ("sunglass", 836),
        ("sunglasses", 837),
        ("daisy", 985),
    ],
)
def test_a_class_is_found_by_its_name(name: str, index: int) -> None:
    assert imagenet_classes.match_imagenet_classes(["nothing of the kind", name]) == {1: index}


@pytest.mark.parametrize("name", ["not-hotdog", "cats", "dogs", "crane", "cardigan", "class 7", "", "s", "--", "蚂蚁"])
def test_a_name_that_is_none_of_them_or_of_two_matches_nothing(name: str) -> None:
    assert imagenet_classes.match_imagenet_classes([name]) == {}


def test_each_of_the_thousand_finds_itself_but_for_those_that_share_a_name() -> None:
    found = imagenet_classes.match_imagenet_classes(imagenet_classes.load_imagenet_names())
    assert len(imagenet_classes.load_imagenet_names()) == 1000
    assert all(mine == theirs for mine, theirs in found.items())
    assert {imagenet_classes.load_imagenet_names()[one] for one in set(range(1000)) - set(found)} <= {
        "Cardigan",
        "cardigan",
        "crane",
        "maillot",
    }


def test_the_rows_of_matching_classes_are_the_sources_and_the_others_start_as_usual() -> None:
    spec = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
    own = weights.load_pretrained(spec).get_submodule(spec.head)
    assert isinstance(own, torch.nn.Linear)
    usual = network.build_network(spec, 3, pretrained=True)
    head = heads.find_classifier(network.build_network(spec, 3, pretrained=True, source_indices={0: 310, 2: 309}).head)
    assert torch.equal(head.weight[[0, 2]], own.weight[[310, 309]])
    assert torch.equal(head.bias[[0, 2]], own.bias[[310, 309]])
    assert torch.equal(head.weight[1], heads.find_classifier(usual.head).weight[1])
    assert head.bias[1] == 0
    assert head.weight.requires_grad


def test_a_convolution_has_rows_as_well() -> None:
    spec = backbones.get_backbone_spec("squeezenet1_1")
    net = network.build_network(spec, 2, pretrained=False, source_indices={1: 934})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = weights.build_module(spec).get_submodule(spec.head)
    assert isinstance(own, torch.nn.Conv2d)
    assert torch.equal(heads.find_classifier(net.head).weight[1], own.weight[934].flatten())


def test_where_there_is_no_such_classifier_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(spec: backbones.BackboneSpec) -> torch.nn.Module:
        module = build(spec)
        module.set_submodule(spec.head, torch.nn.Linear(spec.width, 12))
        return module

    build = weights.build_module
    monkeypatch.setattr(weights, "build_module", few)
    with pytest.raises(ConfigError, match="ImageNet"):
        network.build_network(backbones.get_backbone_spec("mobilenet_v3_small"), 2, pretrained=False, source_indices={})


def test_random_weights_have_nothing_to_inherit() -> None:
    with pytest.raises(ConfigError, match="head-init"):
        TrainConfig(mode="scratch", head_init="imagenet")


@pytest.mark.usefixtures("one_thread")
def test_ants_and_bees_are_told_apart_before_any_step(shared_data: Path, tmp_path: Path) -> None:
    for part, count in (("train", 15), ("val", 40)):
        for name in ("ants", "bees"):
            (tmp_path / "few" / part / name).mkdir(parents=True)
            for file in sorted((shared_data / "data" / "hymenoptera" / part / name).glob("*.jpg"))[:count]:
                shutil.copy(file, tmp_path / "few" / part / name)
    scores = {}
    for head_init in ("small", "imagenet"):
        settings = TrainConfig(data=str(tmp_path / "few"), head_init=head_init, epochs=1, cached_views=1)
        run = run_store.create_run(tmp_path / "runs", settings)
        events = list(train(settings, run))
        scores[head_init] = next(event.val_accuracy for event in events if isinstance(event, Epoch))
        said = [
            progress.format_event(event)
            for event in events
            if isinstance(event, LogMessage) and event.code == "imagenet"
        ]
        if head_init == "imagenet":
            assert said == ["2 of 2 classes start from ImageNet classes: ants → ant (310), bees → bee (309)."]
            assert weights_file.load_tensors(run.best_weights_path)[0]["head.weight"].shape == (2, 1280)
    assert scores["imagenet"] is not None
    assert scores["imagenet"] > 0.85, scores
    assert scores["small"] is not None
    assert scores["small"] < 0.75, scores


def test_where_no_class_matches_it_is_said_and_all_starts_as_usual(tiny_folder: Path, tmp_path: Path) -> None:
    settings = TrainConfig(data=str(tiny_folder), head_init="imagenet", epochs=1, cached_views=1)
    (tiny_folder / "amber").rename(tiny_folder / "not an ant")
    events = list(train(settings, run_store.create_run(tmp_path / "runs", settings)))
    note = next(event for event in events if isinstance(event, LogMessage) and event.code.startswith("imagenet"))
    assert note.code == "imagenet_none"
    assert note.level == "warning"
