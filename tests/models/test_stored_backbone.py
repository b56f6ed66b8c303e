"""A backbone's tensors without its architecture are those of the network that is built, bit for bit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models as torchvision_models

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.models import network, stored_backbone
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import weights
from ftlab.models.stored_backbone import StoredBackbone

CONFIG = TrainConfig(data="x", mode="frozen", seed=5)


@pytest.fixture
def catalog(tiny_folder: Path) -> Catalog:
    return scan(tiny_folder)


@pytest.fixture
def mobilenet_weights() -> Path:
    """Weights of MobileNetV2 where torchvision looks for them."""
    file = weights.locate_weights(backbones.get_backbone_spec("mobilenet_v2")).file
    file.parent.mkdir(parents=True)
    torch.save(torchvision_models.mobilenet_v2().state_dict(), file)
    return file


def build(config: TrainConfig) -> Network:
    spec = backbones.get_backbone_spec(config.backbone)
    return network.build_network(
        spec, 3, pretrained=True, seed=config.init_seed, head_spec=HeadSpec.from_config(config)
    )


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "mobilenet_v2"])
@pytest.mark.parametrize("head", [{}, {"head_hidden": 8, "dropout": 0.1}], ids=["plain", "deep"])
def test_the_tensors_are_those_of_the_network_that_is_built(
    backbone: str, head: dict[str, Any], catalog: Catalog, mobilenet_weights: Path
) -> None:
    assert mobilenet_weights.is_file()
    # The record is of a training with another head.
    stored_backbone.record_backbone(
        build(replace(CONFIG, backbone=backbone)), replace(CONFIG, backbone=backbone), catalog
    )
    config = replace(CONFIG, backbone=backbone, **head)
    torch.manual_seed(1)
    loaded, drawn = stored_backbone.load_network(config, catalog), torch.rand(1)
    assert torch.equal(drawn, torch.rand(1, generator=torch.Generator().manual_seed(1)))
    built = build(config)
    assert loaded is not None
    assert isinstance(loaded.backbone, StoredBackbone)
    assert list(loaded.state_dict()) == list(built.state_dict())
    assert all(torch.equal(value, built.state_dict()[name]) for name, value in loaded.state_dict().items())
    sizes = [(name, parameter.shape) for name, parameter in built.named_parameters()]
    assert [(name, parameter.shape) for name, parameter in loaded.named_parameters()] == sizes
    with pytest.raises(RuntimeError, match="no layers"):
        loaded(torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 6}, {"mode": "full"}, {"features": "fresh"}, {"image_size": 96}, {"cached_views": 3},
        {"backbone": "mobilenet_v2"}, {"head_init": "imagenet"}, {"init_from": "x.pt"},
    ],
    ids=str,
)  # fmt: skip
def test_another_training_finds_no_record(changes: dict[str, Any], catalog: Catalog) -> None:
    stored_backbone.record_backbone(build(CONFIG), CONFIG, catalog)
    assert stored_backbone.load_network(CONFIG, catalog) is not None
    assert stored_backbone.load_network(replace(CONFIG, **changes), catalog) is None


def test_other_data_and_other_weights_have_no_record(
    catalog: Catalog, tiny_folder: Path, mobilenet_weights: Path
) -> None:
    config = replace(CONFIG, backbone="mobilenet_v2")
    stored_backbone.record_backbone(build(config), config, catalog)
    next(tiny_folder.rglob("*.png")).unlink()
    assert stored_backbone.load_network(config, scan(tiny_folder)) is None
    state = mobilenet_weights.stat()
    os.utime(mobilenet_weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert stored_backbone.load_network(config, catalog) is None


def test_weights_that_are_not_those_of_the_file_are_not_recorded(catalog: Catalog) -> None:
    net = build(CONFIG)
    with torch.no_grad():
        next(net.backbone.parameters()).mul_(2)
    stored_backbone.record_backbone(net, CONFIG, catalog)
    assert stored_backbone.load_network(CONFIG, catalog) is None


def test_a_file_that_cannot_be_read_any_more_is_left_to_whoever_builds_the_backbone(
    catalog: Catalog, mobilenet_weights: Path
) -> None:
    config = replace(CONFIG, backbone="mobilenet_v2")
    stored_backbone.record_backbone(build(config), config, catalog)
    state = mobilenet_weights.stat()
    mobilenet_weights.write_bytes(b"x" * state.st_size)
    os.utime(mobilenet_weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert stored_backbone.load_network(config, catalog) is None
