"""What of a backbone learns in an epoch, and which of its statistics move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import freezing, network
from ftlab.models.blocks import split_into_blocks
from ftlab.models.network import Network

SPEC = backbones.get_backbone_spec("mobilenet_v2")
KERAS_100 = "features.12.conv.1"
"""Where the 100th of Keras' 154 layers of MobileNetV2 is, the depthwise convolution of its block 11."""


@pytest.fixture(scope="module")
def net() -> Network:
    return network.build_network(SPEC, 2, pretrained=False)


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"mode": "full", "epochs": 20, "backbone": SPEC.name, **settings})


def learning(net: Network, epoch: int, **settings: Any) -> list[str]:
    freezing.freeze_for_epoch(net, config(**settings), epoch)
    return [name for name, parameter in net.named_parameters() if parameter.requires_grad]


def moved(net: Network, **fields: Any) -> tuple[set[str], set[str]]:
    """BatchNorm statistics of the backbone that a pass in training moves, and all of them."""
    settings = config(**fields)
    freezing.freeze_for_epoch(net, settings, 1)
    freezing.set_train_flags(net, settings.batchnorm)
    buffers = {name: b.clone() for name, b in net.named_buffers() if name.endswith("running_mean")}
    net(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return {name for name, before in buffers.items() if not torch.equal(before, net.get_buffer(name))}, set(buffers)


def test_from_keras_100th_layer_on_56_tensors_learn_as_published(net: Network) -> None:
    names = learning(net, 1, unfreeze_from=KERAS_100)
    assert len(names) == 56
    assert names[0] == "backbone.features.12.conv.1.0.weight"
    assert {"head.weight", "head.bias"} <= set(names)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [("", 0), ("1", 0), ("1.0", 0), ("features.0", 0), ("features.18", 52 - 2), ("0.02", 51 - 1 + 1), ("0.5", 26)],
)
def test_a_layer_or_a_share_is_counted_from_the_end(net: Network, wanted: str, first: int) -> None:
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.backbone.named_parameters()))
    assert len(layers) == 104  # 52 convolutions, each with its normalisation
    kept = freezing.list_names_from_layer(net.backbone, wanted)
    assert kept == [name for name, _ in net.backbone.named_parameters()][-len(kept) :]
    begins = kept[0].rpartition(".")[0]
    assert layers.index(begins) == {"0.02": 101, "0.5": 52, "features.18": 102}.get(wanted, first)


def test_a_name_does_not_match_the_beginning_of_another(net: Network) -> None:
    assert freezing.list_names_from_layer(net.backbone, "features.1")[0] == "features.1.conv.0.0.weight"


def test_a_layer_that_is_not_there_is_answered_with_those_near_it(net: Network) -> None:
    with pytest.raises(ConfigError, match=r"features\.18") as caught:
        freezing.list_names_from_layer(net.backbone, "feature.18")
    assert caught.value.code == "config.layer"
    assert "\n" not in str(caught.value)


def test_until_the_turn_only_the_head_learns_then_the_rest(net: Network) -> None:
    assert learning(net, 1, unfreeze_epoch=3) == learning(net, 3, unfreeze_epoch=3) == ["head.weight", "head.bias"]
    assert len(learning(net, 4, unfreeze_epoch=3)) == len(list(net.parameters()))
    assert len(learning(net, 4, unfreeze_epoch=3, unfreeze_from=KERAS_100)) == 56


def test_after_the_upper_layers_all_learn(net: Network) -> None:
    turns: dict[str, Any] = {"unfreeze_epoch": 1, "unfreeze_from": KERAS_100, "unfreeze_all_epoch": 3}
    counts = [len(learning(net, epoch, **turns)) for epoch in range(1, 6)]
    assert counts == [2, 56, 56, *[len(list(net.parameters()))] * 2]
    one_by_one = [len(learning(net, epoch, **turns, gradual_unfreezing=True)) for epoch in range(1, 6)]
    assert one_by_one[0] < one_by_one[1] < one_by_one[2] < one_by_one[3] == counts[3]


def test_block_by_block_from_the_top(net: Network) -> None:
    depths = split_into_blocks(net.backbone)
    for epoch in range(1, 25):
        names = learning(net, epoch, unfreeze_epoch=2, gradual_unfreezing=True, epochs=30)
        opened = depths[len(depths) - min(len(depths), epoch - 2) :] if epoch > 2 else []
        assert set(names) == {"head.weight", "head.bias"} | {f"backbone.{name}" for block in opened for name in block}
    partial = learning(net, 20, unfreeze_epoch=2, gradual_unfreezing=True, unfreeze_from="features.17", epochs=30)
    assert partial[0].startswith("backbone.features.17.")


def test_statistics_move_where_layers_learn(net: Network) -> None:
    found, all_of_them = moved(net)
    assert found == all_of_them
    found, _ = moved(net, unfreeze_epoch=3)
    assert found == set()
    found, _ = moved(net, unfreeze_from="features.18")
    assert found == {"backbone.features.18.1.running_mean"}


def test_statistics_stay_or_move_on_demand(net: Network) -> None:
    assert moved(net, batchnorm="frozen")[0] == set()
    assert all(parameter.requires_grad for parameter in net.parameters()), "but scale and shift learn"
    found, all_of_them = moved(net, mode="frozen", features="fresh", batchnorm="train")
    assert found == all_of_them


def test_only_batchnorm_wakes_up_in_a_frozen_backbone() -> None:
    dropping = Network(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)), nn.Linear(2, 2))
    freezing.freeze_for_epoch(dropping, config(mode="frozen", features="fresh"), 1)
    freezing.set_train_flags(dropping, "train")
    assert [part.training for part in dropping.backbone.children()] == [False, True, False]
    assert dropping.head.training
