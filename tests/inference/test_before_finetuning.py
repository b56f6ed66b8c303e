"""What a network looked at before it was fine-tuned, and when that cannot be said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.inference import before_finetuning
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.pretrained import imagenet_classes, weights
from ftlab.runs import run_store
from ftlab.runs.directory import Run

SPEC = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
NAMES = ("bees", "my own mug")

pytestmark = pytest.mark.usefixtures("one_thread")


def run(root: Path, mode: str = "full", init: str = "") -> Run:
    return run_store.create_run(root, TrainConfig(sample="shapes", mode=mode, init_from=init))


def trained(moved: float) -> Predictor:
    """The pretrained network with a head of its own, whose last weights have `moved`."""
    net = network.build_network(SPEC, len(NAMES), pretrained=True)
    with torch.no_grad():
        net.backbone.get_parameter("conv_head.weight").mul_(1 + moved)
        net.head.weight.mul_(30.0)  # type: ignore[operator]
    return Predictor(net, SPEC, preprocess.from_spec(SPEC), NAMES, "")


@pytest.fixture
def picture(tiny_folder: Path) -> Path:
    return min(tiny_folder.glob("*/*"))


def test_a_class_that_imagenet_knows_is_looked_for_by_the_pretrained_network_as_it_came(
    tmp_path: Path, picture: Path
) -> None:
    found = before_finetuning.pretrained_baseline(run(tmp_path), trained(0.1), 0)
    assert (found.kind, found.class_name) == ("imagenet", "bee")
    explanation, probability = found.explain(picture)
    assert explanation is not None
    own = Predictor(
        network.build_network(SPEC, None, pretrained=True),
        SPEC,
        preprocess.from_spec(SPEC),
        imagenet_classes.load_imagenet_names(),
        "",
    )
    assert np.allclose(explanation.heatmap, own.explain(picture, 309).heatmap, atol=1e-4)
    there = next(score.probability for score in own.predict(picture, 1000) if score.class_index == 309)
    assert probability == pytest.approx(there, rel=1e-4)
    assert "“bee”" in before_finetuning.describe_baseline(found, 0.25)
    assert "25.0 %" in before_finetuning.describe_baseline(found, 0.25)


def test_weights_that_hold_no_classifier_of_imagenets_are_looked_at_under_the_trained_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = weights.load_pretrained

    def without(spec: BackboneSpec) -> nn.Module:
        module = load(spec)
        module.get_parameter("classifier.weight").data.zero_()
        return module

    monkeypatch.setattr(weights, "load_pretrained", without)
    before_finetuning.load_imagenet_predictor.cache_clear()
    assert before_finetuning.pretrained_baseline(run(tmp_path), trained(0.1), 0).kind == "head"


def test_any_other_class_is_looked_for_by_the_pretrained_backbone_under_the_trained_head(
    tmp_path: Path, picture: Path
) -> None:
    model = trained(0.1)
    found = before_finetuning.pretrained_baseline(run(tmp_path), model, 1)
    assert (found.kind, found.class_name) == ("head", "my own mug")
    assert found.model is not None
    pretrained = network.build_network(SPEC, len(NAMES), pretrained=True)
    pretrained.head.load_state_dict(model.network.head.state_dict())
    expected = Predictor(pretrained, SPEC, preprocess.from_spec(SPEC), NAMES, "").predict_and_explain(picture, 1)
    assert found.model.predict_and_explain(picture, 1)[0] == expected[0]
    assert found.explain(picture)[1] != next(
        score.probability for score in model.predict(picture) if score.class_index == 1
    )
    assert "classifier of this training" in before_finetuning.describe_baseline(found, 0.5)


@pytest.mark.parametrize("index", [0, 1])
def test_where_the_backbone_never_changed_two_equal_maps_are_not_shown(
    tmp_path: Path, picture: Path, index: int
) -> None:
    found = before_finetuning.pretrained_baseline(run(tmp_path, "frozen"), trained(0.0), index)
    assert found.kind == "same"
    assert found.explain(picture) == (None, 0.0)
    assert "bit for bit" in before_finetuning.describe_baseline(found, 0.0)


@pytest.mark.parametrize(("mode", "init", "kind"), [("scratch", "", "scratch"), ("full", "weights.pth", "file")])
def test_what_began_otherwise_has_no_before(tmp_path: Path, mode: str, init: str, kind: str) -> None:
    found = before_finetuning.pretrained_baseline(run(tmp_path, mode, init), trained(0.1), 0)
    assert (found.kind, found.model) == (kind, None)
    assert before_finetuning.describe_baseline(found, 0.0)


def test_the_untrained_default_is_its_own_before() -> None:
    assert before_finetuning.pretrained_baseline(None, trained(0.1), 0).kind == "untrained"


def test_the_trained_network_is_left_as_it_was(tmp_path: Path, picture: Path) -> None:
    model = trained(0.1)
    values = {key: value.clone() for key, value in model.network.state_dict().items()}
    for index in (0, 1):
        before_finetuning.pretrained_baseline(run(tmp_path), model, index).explain(picture)
    assert all(torch.equal(values[key], value) for key, value in model.network.state_dict().items())
