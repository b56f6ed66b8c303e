"""A backbone in two parts: together they are the whole, and only the upper one is trained."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.models import freezing, network
from ftlab.models.activations import split_backbone
from ftlab.models.activations.boundary_values import SplitError
from ftlab.models.execution import engines
from ftlab.models.network import Network

SIDE = 64
KINDS = (
    *("mobilenet_v2", "resnet18", "tf_efficientnet_lite0", "convnext_tiny", "shufflenet_v2_x1_0", "densenet121"),
    *("regnet_y_400mf", "squeezenet1_1", "mnasnet1_0"),
)


def frozen_below(
    name: str, start_layer: str = "auto", side: int = SIDE
) -> tuple[Network, split_backbone.BackboneSplit]:
    """A network with random weights that is trained from a layer on, and its split."""
    net = network.build_network(backbones.get_backbone_spec(name), 3, pretrained=False)
    config = TrainConfig(backbone=name, mode="full", unfreeze_from=start_layer, epochs=1, batchnorm="frozen")
    freezing.freeze_for_epoch(net, config, 1)
    freezing.set_train_flags(net, config.batchnorm)
    names = freezing.list_trainable_names(net.backbone, config, 1)
    return net, split_backbone.split_backbone(net.backbone, names, side)


def images(count: int = 2, side: int = SIDE) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", KINDS)
def test_the_parts_in_turn_are_the_network_to_the_gradients(name: str) -> None:
    net, split = frozen_below(name)
    lower, upper = split.bind_lower(net.backbone), split.bind_upper(net)
    flags = [module.training for module in net.modules()]
    with torch.no_grad():
        rows = lower(images())
    assert rows.shape == (2, split.row_length)
    torch.manual_seed(0)
    upper(rows).square().sum().backward()
    of_upper = {key: p.grad for key, p in net.named_parameters()}
    assert [module.training for module in net.modules()] == flags
    net.zero_grad()
    torch.manual_seed(0)
    net(images()).square().sum().backward()
    for key, parameter in net.named_parameters():
        expected = parameter.grad
        assert (expected is None) == (of_upper[key] is None) == (not parameter.requires_grad), key
        if expected is not None:
            torch.testing.assert_close(of_upper[key], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "layer", "values"), [
    ("mobilenet_v2", "features.15", 160 * 2 * 2),
    ("mobilenet_v2", "features.16.conv.1", 160 * 2 * 2 + 960 * 2 * 2),
    ("resnet18", "layer4", 256 * 4 * 4),
    ("resnet18", "0.2", 512 * 2 * 2 + 256 * 4 * 4),
])  # fmt: skip
def test_what_is_kept_of_an_image_is_what_crosses_the_boundary(name: str, layer: str, values: int) -> None:
    assert frozen_below(name, layer)[1].row_length == values


def test_the_layers_that_auto_trains() -> None:
    assert frozen_below("mobilenet_v2")[1].module_path == "features.15"
    assert frozen_below("resnet18")[1].module_path == "layer4"


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_a_transformer_is_divided_between_its_layers(name: str) -> None:
    net, split = frozen_below(name, side=224)
    net.eval()
    with torch.inference_mode():
        whole = net(images(1, 224))
        parts = split.bind_upper(net)(split.bind_lower(net.backbone)(images(1, 224)))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_both_parts_share_the_layers_of_the_network() -> None:
    net, split = frozen_below("resnet18")
    lower, upper = split.bind_lower(net.backbone), split.bind_upper(net)
    trained = {id(p) for p in net.parameters() if p.requires_grad}
    assert trained == {id(p) for p in upper.parameters()}
    assert not trained & {id(p) for p in lower.parameters()}


def test_a_copy_of_the_network_gets_an_upper_part_of_its_own() -> None:
    net, split = frozen_below("resnet18")
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.head.get_parameter("bias").add_(1.0)
    rows = torch.randn(2, split.row_length)
    net.eval()
    other.eval()
    torch.testing.assert_close(split.bind_upper(other)(rows), split.bind_upper(net)(rows) + 1.0)


def test_the_hash_knows_weights_and_boundary() -> None:
    net, split = frozen_below("resnet18")
    before = split.hash_lower(engines.hash_parameters, net.backbone)
    with torch.no_grad():
        net.head.get_parameter("weight").add_(1.0)
        net.backbone.get_parameter("layer4.0.conv1.weight").add_(1.0)
    assert split.hash_lower(engines.hash_parameters, net.backbone) == before, "what is trained"
    assert frozen_below("resnet18", "layer3")[1].hash_lower(engines.hash_parameters, net.backbone) != before
    with torch.no_grad():
        net.backbone.get_parameter("conv1.weight").add_(1.0)
    assert split.hash_lower(engines.hash_parameters, net.backbone) != before


class _Reshaping(nn.Module):
    """Uses the number of images, and the height of the frozen layer's map, above the boundary."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Linear(4 * 4, 5)
        self.offset = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.lower(pixels)
        count, channels, height, _ = maps.shape
        raised = self.upper((maps + self.offset[:, None, None])[:, :, :2, :2].reshape(count, -1))
        features: Tensor = raised.reshape(count, 5) * height + maps.mean((2, 3)).sum(1, keepdim=True) * channels
        return features


def test_sizes_cross_the_boundary_too() -> None:
    module = _Reshaping()
    split = split_backbone.split_backbone(module, {"upper.weight", "upper.bias"}, 8)
    net = Network(module, nn.Linear(5, 2))
    with torch.no_grad():
        for count in (1, 7):
            expected = net(images(count, 8))
            torch.testing.assert_close(split.bind_upper(net)(split.bind_lower(module)(images(count, 8))), expected)


class _Branching(nn.Module):
    """Takes another way for other images."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        pooled = self.lower(pixels).mean((2, 3))
        features: Tensor = self.upper(pooled if pooled.sum() > 0 else -pooled)
        return features


class _Pooling(nn.Module):
    """Lets something cross the boundary that is no activation of one image: a mean over all, or two maps at once."""

    def __init__(self, crossing: str) -> None:
        super().__init__()
        self.lower, self.upper, self.crossing = nn.Conv2d(3, 4, 1), nn.Bilinear(4, 4, 5), crossing

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.lower(pixels).mean((2, 3))
        if self.crossing == "scalar":
            features: Tensor = self.upper(maps, maps) * maps.mean()
        else:
            features = self.upper(*torch.broadcast_tensors(maps, maps))
        return features


@pytest.mark.parametrize(("module", "names", "reason"), [
    (_Pooling("scalar"), {"upper.weight", "upper.bias"}, "no activation of one image"),
    (_Branching(), {"upper.weight", "upper.bias"}, "cannot be traced"),
    (_Reshaping(), {"upper.weight", "lower.weight"}, "no part of it is frozen"),
    (_Reshaping(), set(), "no part of it is trained"),
])  # fmt: skip
def test_what_cannot_be_divided_is_refused(module: nn.Module, names: set[str], reason: str) -> None:
    with pytest.raises(SplitError, match=reason):
        split_backbone.split_backbone(module, names, 8)
