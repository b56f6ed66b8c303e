"""Logits and feature maps from one graph: for which networks, and that maps need no backward pass then."""

from __future__ import annotations

import dataclasses
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.inference.cam_methods import compute_cam, weight_activation
from ftlab.inference.cam_options import CAM_METHODS
from ftlab.models import cam_layers, heads, network
from ftlab.models.execution import answer_graph, onnx_graph
from ftlab.models.execution.answer_graph import AnswerGraph
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from tests.support.random_networks import settle_norms, tiled_draws

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 64
OTHER_ENDS = {
    *("vit_b_16", "swin_t", "convnext_tiny"),  # a normalization, or tokens
    *("vgg16", "vgg16_bn", "alexnet", "mobilenet_v3_small", "mobilenet_v3_large"),  # hidden layers
    "maxvit_t",
}
"""Backbones that do not end in global average pooling and one linear layer."""


def built(name: str, head_spec: HeadSpec | None = None, classes: int = 3) -> tuple[Network, BackboneSpec]:
    spec = backbones.get_backbone_spec(name)
    with tiled_draws():
        net = network.build_network(spec, classes, pretrained=False, seed=1, head_spec=head_spec or HeadSpec())
    settle_norms(net)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return net.eval().requires_grad_(False), spec


def made(net: Network, spec: BackboneSpec) -> AnswerGraph:
    graph = answer_graph.build_answer_graph(net, spec, SIDE)
    assert graph is not None
    return graph


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, SIDE, SIDE, generator=generator) + cam_layers.make_probe_images(SIDE)[:1]


@pytest.fixture(scope="module")
def small() -> tuple[Network, BackboneSpec, AnswerGraph]:
    with torch.random.fork_rng():
        net, spec = built("resnet18")
        return net, spec, made(net, spec)


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_the_class_weights_are_found_where_only_pooling_precedes_them(name: str) -> None:
    if name in OTHER_ENDS:
        spec = backbones.get_backbone_spec(name)
        if spec.cam_layout == "chw" and spec.convolutional and not spec.fixed_side:
            net, _ = built(name)
            assert answer_graph.find_class_weights(net, spec.cam, images(2)) is None
        return
    net, spec = built(name)
    side = max(SIDE, 96 if name in ("inception_v3", "squeezenet1_1") else SIDE)
    probes = cam_layers.make_probe_images(side)
    found = answer_graph.find_class_weights(net, spec.cam, probes)
    assert found is not None
    assert torch.equal(found, heads.find_classifier(net.head).weight)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenet_v2", "densenet121", "squeezenet1_1"])
def test_maps_are_those_of_the_backward_pass(name: str) -> None:
    net, spec = built(name)
    graph, image = made(net, spec), images(1)
    logits, feature_maps = graph(image)
    for class_index in range(3):
        for method in CAM_METHODS:
            expected_logits, expected = compute_cam(net, spec, image, class_index, method)
            gradient = graph.compute_gradient(feature_maps[0], class_index)
            found = weight_activation(feature_maps[0], gradient, method)
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), method
        assert (logits[0] - expected_logits).abs().max() <= 1e-5 * expected_logits.abs().max()


def test_an_image_has_the_same_bits_in_every_batch(small: tuple[Network, BackboneSpec, AnswerGraph]) -> None:
    _, _, graph = small
    batch = images(8)
    whole = graph(batch)
    for chosen in ([0], [5], [1, 2, 3], [7, 0, 3, 4, 6]):
        parts = graph(batch[chosen])
        assert all(torch.equal(part, values[chosen]) for part, values in zip(parts, whole, strict=True))
    channels_last = graph(batch.contiguous(memory_format=torch.channels_last))
    assert all(torch.equal(part, values) for part, values in zip(channels_last, whole, strict=True))


def test_calls_at_the_same_time_run_on_one_thread_each() -> None:
    entered, opened = threading.Event(), threading.Event()

    class Session:
        def __init__(self, value: float) -> None:
            self.value = value

        def run(self, _names: list[str], _feed: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
            if not entered.is_set():
                entered.set()
                assert opened.wait(10)
            return [np.full((1, 2), self.value, np.float32), np.zeros((1, 3, 1, 1), np.float32)]

    graph = AnswerGraph(Session(2), torch.zeros(2, 3), Session(1))
    image = torch.zeros(1, 3, 8, 8)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(graph, image)
        assert entered.wait(10)
        assert float(graph(image)[0][0, 0]) == 1
        opened.set()
        assert float(first.result(10)[0][0, 0]) == 2
    assert float(graph(image)[0][0, 0]) == 2


@pytest.mark.parametrize(
    ("head_spec", "has_graph"),
    [
        (HeadSpec(dropout=0.5), True),
        (HeadSpec(kind="logit"), True),
        (HeadSpec(kind="logit", dropout=0.2), True),
        (HeadSpec(hidden=8), False),
    ],
    ids=["dropout", "one logit", "one logit and dropout", "hidden layer"],
)
def test_of_the_heads_those_that_are_linear(head_spec: HeadSpec, *, has_graph: bool) -> None:
    net, spec = built("resnet18", head_spec, classes=2)
    weights = answer_graph.find_class_weights(net, spec.cam, images(2))
    assert (weights is not None) is has_graph
    if weights is not None:
        image = images(1)
        maps = [compute_cam(net, spec, image, class_index)[1] for class_index in range(2)]
        net.backbone.get_submodule(spec.cam).register_forward_hook(lambda _m, _i, output: maps.append(output[0]))
        net(image)
        for class_index in range(2):
            by_hand = (weights[class_index][:, None, None] * maps[2]).sum(0) / maps[2][0].numel()
            assert torch.allclose(by_hand, maps[class_index], atol=1e-5 * float(by_hand.abs().max()))


@pytest.mark.parametrize(
    ("name", "layer"), [("tf_efficientnet_lite0", "conv_head"), ("squeezenet1_1", "features"), ("resnet18", "layer3")]
)
def test_a_layer_before_an_activation_has_another_gradient(name: str, layer: str) -> None:
    net, _ = built(name)
    assert answer_graph.find_class_weights(net, layer, images(2)) is None
    assert not any(part._forward_hooks for part in net.modules())


def test_a_class_that_does_not_exist_is_an_index_error(small: tuple[Network, BackboneSpec, AnswerGraph]) -> None:
    _, _, graph = small
    with pytest.raises(IndexError):
        graph.compute_gradient(graph(images(1))[1][0], 3)


def test_a_graph_that_says_something_else_is_not_used(
    small: tuple[Network, BackboneSpec, AnswerGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, spec, _ = small
    export, run = onnx_graph.export_module, AnswerGraph.__call__
    stored: list[Any] = []

    def export_once(*given: Any) -> Any:
        if not stored:
            stored.append(export(*given))
        return stored[0]

    monkeypatch.setattr(onnx_graph, "export_module", export_once)
    for wrong in (lambda logits, maps: (logits * 1.001, maps), lambda logits, maps: (logits, maps + 0.01)):
        monkeypatch.setattr(AnswerGraph, "__call__", lambda graph, batch, wrong=wrong: wrong(*run(graph, batch)))
        assert answer_graph.build_answer_graph(net, spec, SIDE) is None
    monkeypatch.setattr(AnswerGraph, "__call__", run)
    assert answer_graph.build_answer_graph(net, spec, SIDE) is not None


def test_without_the_packages_or_an_export_there_is_none(
    small: tuple[Network, BackboneSpec, AnswerGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, spec, _ = small
    assert answer_graph.build_answer_graph(net, dataclasses.replace(spec, cam=""), SIDE) is None
    with monkeypatch.context() as patch:
        patch.setattr(onnx_graph, "export_module", lambda *_: None)
        assert answer_graph.build_answer_graph(net, spec, SIDE) is None
    monkeypatch.setattr(onnx_graph, "find_spec", lambda _name: None)
    assert answer_graph.build_answer_graph(net, spec, SIDE) is None


def test_the_network_is_left_as_it_was_found() -> None:
    net, spec = built("tf_efficientnet_lite0")
    before = {name: type(part) for name, part in net.named_modules()}
    made(net, spec)
    assert {name: type(part) for name, part in net.named_modules()} == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert not any(isinstance(part, nn.ZeroPad2d) for part in net.modules())


def test_no_copy_of_the_network_outlives_the_build() -> None:
    net, spec = built("resnet18")

    def count() -> int:
        return sum(type(found) in (Network, type(net.backbone)) for found in gc.get_objects())

    gc.collect()
    before = count()
    gc.disable()  # what a cycle keeps alive may stay for long
    try:
        graph = made(net, spec)
        assert count() == before
    finally:
        gc.enable()
    assert graph.class_weights.shape == (3, 512)
