"""Which layers of a network can be looked at."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.inference.cam_methods import compute_cam
from ftlab.models import cam_layers, network
from ftlab.models.cam_layers import CamLayer
from ftlab.models.network import Network
from tests.support.random_networks import tiled_draws

pytestmark = pytest.mark.usefixtures("one_thread")


def built(name: str) -> tuple[Network, BackboneSpec]:
    spec = backbones.get_backbone_spec(name)
    with tiled_draws():
        return network.build_network(spec, 3, pretrained=False, seed=1).eval(), spec


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        (
            "resnet18",
            "relu maxpool layer1.0 layer1 layer2.0 layer2 layer3.0 layer3 layer4.0 layer4",
        ),
        ("tf_efficientnet_lite0", "bn1 blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5 blocks bn2"),
        (
            "densenet121",
            "features.relu0 features.pool0 features.denseblock1 features.transition1 features.denseblock2 "
            "features.transition2 features.denseblock3 features.transition3 features.denseblock4 relu5",
        ),
        (
            "maxvit_t",
            "stem.0 stem blocks.0.layers.0 blocks.0 blocks.1.layers.0 blocks.1 blocks.2.layers.0 blocks.2.layers.1 "
            "blocks.2.layers.2 blocks.2.layers.3 blocks.2 blocks.3.layers.0 blocks.3",
        ),
    ],
)
def test_blocks_and_what_holds_them_each_once_from_the_pixels_up(name: str, paths: str) -> None:
    found = cam_layers.find_candidate_layers(*built(name))
    assert [layer.path for layer in found] == paths.split()
    sides = [layer.grid_size for layer in found]
    assert sides == sorted(sides, reverse=True)


def test_of_a_transformer_the_blocks_whose_patches_still_reach_the_answer() -> None:
    net, spec = built("vit_b_16")
    found = cam_layers.find_candidate_layers(net, spec)
    assert [layer.path for layer in found] == [
        *(f"encoder.layers.encoder_layer_{number}" for number in range(11)),
        "encoder.layers.encoder_layer_11.ln_1",
    ]
    assert {(layer.layout, layer.num_prefix_tokens, layer.grid_size) for layer in found} == {("tokens", 1, 14)}


@pytest.mark.parametrize("name", ["swin_t", "vgg16", "mobilenet_v3_small", "squeezenet1_1"])
def test_each_gives_a_map_and_the_rows_own_is_among_them(name: str) -> None:
    net, spec = built(name)
    spec = dataclasses.replace(spec, side=96)
    found = cam_layers.find_candidate_layers(net, spec)
    assert spec.cam in [layer.path for layer in found]
    assert 6 <= len(found) <= 20
    picture = cam_layers.make_probe_images(spec.side)[:1]
    for layer in found:
        evidence = compute_cam(net, spec, picture, 1, "layer_cam", layer)[1]
        assert evidence.shape == (layer.grid_size, layer.grid_size)
        assert evidence.isfinite().all()


def test_the_network_is_left_as_it_was_found() -> None:
    net, spec = built("mobilenet_v3_small")
    net.train()
    net.backbone.get_submodule("features").eval()
    before = [(part.training, len(part._forward_hooks)) for part in net.modules()]
    values = {key: value.clone() for key, value in net.state_dict().items()}
    one, two = (cam_layers.find_candidate_layers(net, spec) for _ in range(2))
    assert one == two
    assert set(one) <= set(cam_layers.find_spatial_layers(net, spec))
    assert [(part.training, len(part._forward_hooks)) for part in net.modules()] == before
    assert all(torch.equal(values[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_network_without_a_layer_for_maps_has_none_to_choose_from() -> None:
    net, spec = built("mobilenet_v3_small")
    assert cam_layers.find_candidate_layers(net, dataclasses.replace(spec, cam="")) == ()


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((1, 8, 7, 7), ("chw", 0, 7)),
        ((1, 7, 7, 8), ("hwc", 0, 7)),
        ((1, 197, 8), ("tokens", 1, 14)),
        ((1, 8, 1, 1), None),
        ((1, 8), None),
        ((2, 8, 7, 7), None),
    ],
)
def test_places_are_told_by_the_shape(shape: tuple[int, ...], form: tuple[str, int, int] | None) -> None:
    assert cam_layers.infer_layout(torch.zeros(shape)) == form
    assert cam_layers.infer_layout(torch.zeros(shape, dtype=torch.long)) is None


def test_a_row_names_its_own() -> None:
    assert CamLayer.from_spec(backbones.get_backbone_spec("swin_t")) == CamLayer("norm", "hwc", 1)


@pytest.mark.parametrize(
    ("name", "former", "today"),
    [
        ("tf_efficientnet_lite0", "conv_head", "bn2"),
        ("densenet121", "features", "relu5"),
        ("squeezenet1_1", "features", "classifier.2"),
    ],
)
def test_a_row_of_an_older_version_names_the_layer_of_today(name: str, former: str, today: str) -> None:
    told = {**backbones.get_backbone_spec(name).to_json(), "cam": former}
    assert backbones.spec_from_json(told).cam == today
    assert backbones.spec_from_json({**told, "name": f"timm/{name}"}).cam == former, "another network of that name"


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "densenet121", "squeezenet1_1"])
def test_the_usual_layer_stands_behind_the_last_activation(name: str) -> None:
    net, spec = built(name)
    outputs: list[torch.Tensor] = []
    net.backbone.get_submodule(spec.cam).register_forward_hook(lambda _m, _i, output: outputs.append(output.clone()))
    with torch.no_grad():
        features = net.backbone(cam_layers.make_probe_images(96))
    assert (outputs[0] >= 0).all()
    assert torch.allclose(outputs[0].mean(dim=(2, 3)), features, rtol=1e-5, atol=1e-6)
