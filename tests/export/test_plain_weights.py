"""A trained network in the names of its library: the library's own module gives the same logits."""

from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
import torchvision

from ftlab.config import backbones
from ftlab.export.model_source import ModelSource
from ftlab.export.plain_weights import build_plain_weights
from ftlab.models import cam_layers, heads
from ftlab.models.heads import HeadSpec
from tests.support.exported_models import NAMES, make_source

pytestmark = pytest.mark.usefixtures("one_thread")


def with_head(source: ModelSource, classes: int, head_spec: HeadSpec) -> ModelSource:
    """The same backbone with another head."""
    source.predictor.network.head = heads.build_head(source.predictor.spec.width, classes, head_spec).eval()
    return source


def probe_logits(source: ModelSource) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = source.predictor.network(cam_layers.make_probe_images(source.predictor.prep.side))
    return logits


def test_timm_loads_the_tensors_by_its_own_names() -> None:
    source = make_source("tf_efficientnet_lite0")
    plain = build_plain_weights(source)
    assert plain is not None
    assert (plain.architecture, plain.tag, plain.classifier_path) == ("tf_efficientnet_lite0", "", "classifier")
    module = timm.create_model(plain.architecture, num_classes=len(NAMES)).eval()
    module.load_state_dict(plain.get_tensors())
    with torch.no_grad():
        logits = module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(logits, probe_logits(source), rtol=1e-4, atol=1e-4)


def test_a_timm_model_without_a_known_head_finds_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    known = backbones.get_backbone_spec("tf_efficientnet_lite0")
    spec = dataclasses.replace(known, name="timm/tf_efficientnet_lite0.in1k", head="")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, spec)
    plain = build_plain_weights(make_source(spec.name))
    assert plain is not None
    assert (plain.architecture, plain.tag, plain.classifier_path) == ("tf_efficientnet_lite0", "in1k", "classifier")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121", "googlenet"])
def test_torchvision_loads_the_tensors_by_its_own_names(name: str) -> None:
    source = make_source(name)
    plain = build_plain_weights(source)
    assert plain is not None
    options = {"init_weights": False} if name == "googlenet" else {}
    module = torchvision.models.get_model(name, num_classes=len(NAMES), **options).eval()
    module.load_state_dict(plain.get_tensors())
    with torch.no_grad():
        logits = module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(logits, probe_logits(source), rtol=1e-4, atol=1e-4)


def test_one_logit_for_two_classes_becomes_two_rows() -> None:
    source = with_head(make_source(), 2, HeadSpec(kind="logit"))
    plain = build_plain_weights(source)
    assert plain is not None
    with torch.no_grad():
        logits = plain.module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(logits, probe_logits(source), rtol=1e-4, atol=1e-4)


def test_a_hidden_layer_is_no_part_of_the_architecture() -> None:
    assert build_plain_weights(with_head(make_source(), 3, HeadSpec(hidden=16))) is None


def test_a_classifier_before_more_layers_is_not_the_librarys() -> None:
    assert build_plain_weights(make_source("squeezenet1_1")) is None


def test_the_trained_network_stays_as_it_is() -> None:
    source = make_source()
    before = {name: tensor.clone() for name, tensor in source.predictor.network.state_dict().items()}
    plain = build_plain_weights(source)
    assert plain is not None
    for tensor in plain.module.parameters():
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in source.predictor.network.state_dict().items())
