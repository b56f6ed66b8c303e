"""Weights by the names of the libraries: their own module takes them and gives the same logits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from ftlab.config import backbones
from ftlab.core.errors import ExportError
from ftlab.export.library_weights import convert_weights, find_plain_weights, get_architecture
from ftlab.export.model_source import ModelSource
from ftlab.models import cam_layers, heads
from ftlab.models.heads import HeadSpec
from tests.support.exported_models import NAMES, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def load_by_lines(source: ModelSource) -> tuple[str, nn.Module]:
    """The lines of a model, and the module that they make; the tensors are handed to them without a file."""
    converted = convert_weights(source)
    lines = converted.write_loading_lines("weights")
    namespace: dict[str, Any] = {"tensors": converted.tensors}
    exec(lines.replace('load_file("weights")', "tensors"), namespace)
    return lines, namespace["model"]


def ask(network: nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network(images)
        return logits


def set_head(source: ModelSource, head_spec: HeadSpec, count: int) -> ModelSource:
    """The model with a random head of another kind."""
    predictor = source.predictor
    width = heads.find_classifier(predictor.network.head).in_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        predictor.network.head = heads.build_head(width, count, head_spec).eval()
    predictor.class_names = NAMES[:count]
    return source


def test_the_module_of_timm_takes_the_weights() -> None:
    source = make_source("tf_efficientnet_lite0")
    model = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    model.load_state_dict(convert_weights(source).tensors)
    assert torch.allclose(ask(model), ask(source.predictor.network), rtol=1e-4, atol=1e-4)


def test_the_module_of_torchvision_takes_the_weights() -> None:
    source = make_source("resnet18")
    model = models.resnet18(num_classes=3).eval()
    model.load_state_dict(convert_weights(source).tensors)
    assert torch.equal(ask(model), ask(source.predictor.network))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnet18", "model = models.resnet18(num_classes=3)"),
        ("tf_efficientnet_lite0", 'model = timm.create_model("tf_efficientnet_lite0", num_classes=3)'),
        # The classifier is a convolution, and a ReLU follows it there.
        ("squeezenet1_1", "model = torch.nn.Sequential(model, torch.nn.Linear(512, 3))"),
        ("mnasnet1_0", 'state.update(load_file("weights"))'),
        ("googlenet", "model = models.googlenet(num_classes=3, aux_logits=False, init_weights=False)"),
        ("densenet121", "model = models.densenet121(num_classes=3)"),
    ],
)
def test_the_lines_load_every_kind_of_backbone(name: str, line: str) -> None:
    source = make_source(name)
    lines, model = load_by_lines(source)
    assert line in lines
    assert not model.training
    expected = ask(source.predictor.network)
    assert (ask(model) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("head_spec", "count", "line"),
    [
        (HeadSpec(dropout=0.3), 3, "model = models.mobilenet_v2(num_classes=3)\nmodel.load"),
        (HeadSpec("logit"), 2, "model = models.mobilenet_v2(num_classes=2)\nmodel.load"),
        (
            HeadSpec(hidden=16, dropout=0.3),
            3,
            'model.set_submodule("classifier.1", torch.nn.Sequential('
            "torch.nn.Linear(1280, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)))",
        ),
        (HeadSpec("logit", hidden=16), 2, "torch.nn.ReLU(), torch.nn.Linear(16, 2)))"),
    ],
)
def test_the_lines_load_every_kind_of_head(head_spec: HeadSpec, count: int, line: str) -> None:
    source = set_head(make_source("mobilenet_v2"), head_spec, count)
    lines, model = load_by_lines(source)
    assert line in lines
    assert torch.allclose(ask(model), ask(source.predictor.network), rtol=1e-4, atol=1e-5)


def test_a_network_that_the_library_does_not_build_is_refused() -> None:
    source = make_source("mobilenet_v2")
    features = source.predictor.network.backbone.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    features.append(nn.Tanh())
    with pytest.raises(ExportError, match="torchvision"):
        convert_weights(source)


def test_the_weights_stay_those_of_the_model() -> None:
    source = make_source("mobilenet_v2")
    before = {name: tensor.clone() for name, tensor in source.predictor.network.state_dict().items()}
    state = torch.get_rng_state()
    convert_weights(source)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.predictor.network.state_dict().items())


def test_timm_loads_the_tensors_by_its_own_names() -> None:
    source = make_source("tf_efficientnet_lite0")
    plain = find_plain_weights(source)
    assert plain is not None
    assert (*get_architecture(source), plain.classifier_path) == ("tf_efficientnet_lite0", "", "classifier")
    module = timm.create_model(get_architecture(source)[0], num_classes=len(NAMES)).eval()
    state = module.state_dict()
    state.update(plain.tensors)
    module.load_state_dict(state)
    with torch.no_grad():
        logits = module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(
        logits, ask(source.predictor.network, cam_layers.make_probe_images(64)), rtol=1e-4, atol=1e-4
    )


def test_a_timm_model_without_a_known_head_finds_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    known = backbones.get_backbone_spec("tf_efficientnet_lite0")
    spec = dataclasses.replace(known, name="timm/tf_efficientnet_lite0.in1k", head="")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, spec)
    source = make_source(spec.name)
    plain = find_plain_weights(source)
    assert plain is not None
    assert (*get_architecture(source), plain.classifier_path) == ("tf_efficientnet_lite0", "in1k", "classifier")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121", "googlenet", "mnasnet1_0"])
def test_torchvision_loads_the_tensors_by_its_own_names(name: str) -> None:
    source = make_source(name)
    plain = find_plain_weights(source)
    assert plain is not None
    options = {"init_weights": False} if name == "googlenet" else {}
    module = models.get_model(name, num_classes=len(NAMES), **options).eval()
    state = module.state_dict()
    state.update(plain.tensors)
    module.load_state_dict(state)
    with torch.no_grad():
        logits = module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(
        logits, ask(source.predictor.network, cam_layers.make_probe_images(64)), rtol=1e-4, atol=1e-4
    )


def test_one_logit_for_two_classes_becomes_two_rows() -> None:
    source = set_head(make_source(), HeadSpec(kind="logit"), 2)
    plain = find_plain_weights(source)
    assert plain is not None
    with torch.no_grad():
        logits = plain.module(cam_layers.make_probe_images(64))
    torch.testing.assert_close(
        logits, ask(source.predictor.network, cam_layers.make_probe_images(64)), rtol=1e-4, atol=1e-4
    )


def test_a_hidden_layer_is_no_part_of_the_architecture() -> None:
    assert find_plain_weights(set_head(make_source(), HeadSpec(hidden=16), 3)) is None


def test_a_classifier_before_more_layers_is_not_the_librarys() -> None:
    assert find_plain_weights(make_source("squeezenet1_1")) is None


def test_the_trained_network_stays_as_it_is() -> None:
    source = make_source()
    before = {name: tensor.clone() for name, tensor in source.predictor.network.state_dict().items()}
    plain = find_plain_weights(source)
    assert plain is not None
    for tensor in plain.module.parameters():
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in source.predictor.network.state_dict().items())
