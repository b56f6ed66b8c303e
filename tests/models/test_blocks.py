"""A backbone from below to above, in blocks that a person recognises."""

from __future__ import annotations

import pytest
from torch import nn

from ftlab.config import backbones
from ftlab.models import network
from ftlab.models.blocks import split_into_blocks


def first_modules(name: str) -> list[str]:
    net = network.build_network(backbones.get_backbone_spec(name), 2, pretrained=False)
    return [block[0].rpartition(".")[0] for block in split_into_blocks(net.backbone)]


@pytest.mark.parametrize(
    ("name", "count", "begins"),
    [
        ("resnet18", 9, ["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"]),
        ("mobilenet_v2", 19, ["features.0.0", "features.1.conv.0.0", "features.2.conv.0.0"]),
        ("vgg16", 15, ["features.0", "features.2", "features.5"]),
        ("tf_efficientnet_lite0", 9, ["conv_stem", "blocks.0.0.conv_dw", "blocks.1.0.conv_pw"]),
    ],
)
def test_blocks_are_those_of_the_architecture(name: str, count: int, begins: list[str]) -> None:
    found = first_modules(name)
    assert len(found) == count
    assert found[: len(begins)] == begins


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "tf_efficientnet_lite0", "densenet121"])
def test_each_parameter_is_in_one_block(name: str) -> None:
    backbone = network.build_network(backbones.get_backbone_spec(name), 2, pretrained=False).backbone
    named = [parameter for block in split_into_blocks(backbone) for parameter in block]
    assert sorted(named) == sorted(parameter for parameter, _ in backbone.named_parameters())


def test_a_normalisation_belongs_to_what_it_follows_and_a_lone_parameter_too() -> None:
    backbone = network.build_network(backbones.get_backbone_spec("vit_b_16"), 2, pretrained=False).backbone
    found = split_into_blocks(backbone)
    assert {"class_token", "conv_proj.weight", "encoder.pos_embedding"} <= set(found[0])
    assert "encoder.ln.weight" in found[-1]


def test_a_network_of_one_layer_is_one_block() -> None:
    assert split_into_blocks(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == [["0.weight", "0.bias"]]
