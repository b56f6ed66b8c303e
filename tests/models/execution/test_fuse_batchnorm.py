"""The faster copy of a frozen network: the same numbers, no BatchNorm left, the original untouched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.models import network
from ftlab.models.execution.fuse_batchnorm import fuse_conv_batchnorm
from ftlab.models.heads import HeadSpec


def used(module: nn.Module) -> nn.Module:
    """The module as after some training: running statistics and scales that do something."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low in (
                (part.running_var, 0.5),
                (part.weight, 0.5),
                (part.bias, -0.5),
                (part.running_mean, -0.5),
            ):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return module.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("name", [name for name, spec in backbones.BACKBONES.items() if spec.name != "vit_b_16"])
def test_the_features_are_the_same_up_to_rounding(name: str) -> None:
    spec = backbones.get_backbone_spec(name)
    side = spec.side if name == "maxvit_t" else 96  # its windows want their own size
    module = used(network.build_network(spec, 2, pretrained=False).backbone)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    batch = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, given = module(batch), fuse_conv_batchnorm(module)(batch)
    assert float((given - expected).abs().max()) <= 2e-5 * float(expected.abs().max())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "googlenet", "densenet121", "swin_t"])
def test_a_head_on_top_is_taken_along(name: str) -> None:
    net = network.build_network(
        backbones.get_backbone_spec(name), 7, pretrained=False, head_spec=HeadSpec(hidden=4, dropout=0.5)
    ).eval()
    used(net.backbone)
    whole = nn.Sequential(net.backbone, net.head)
    batch = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, given = net(batch), fuse_conv_batchnorm(whole)(batch)
    assert (given - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert norms(fuse_conv_batchnorm(whole)) == norms(fuse_conv_batchnorm(net.backbone))


@pytest.mark.parametrize(("name", "count"), [("tf_efficientnet_lite0", 49), ("mobilenet_v2", 52), ("resnet18", 20)])
def test_no_batchnorm_is_left(name: str, count: int) -> None:
    module = network.build_network(backbones.get_backbone_spec(name), 2, pretrained=False).backbone
    assert norms(module) == count
    assert norms(fuse_conv_batchnorm(module)) == 0


def test_a_convolution_whose_output_goes_elsewhere_too_is_left_alone() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, pictures: Tensor) -> Tensor:
            seen = self.conv(pictures)
            return torch.as_tensor(self.norm(seen) + seen)

    module = used(Forked())
    batch = torch.randn(1, 3, 4, 4)
    assert norms(fuse_conv_batchnorm(module)) == 1
    assert torch.allclose(fuse_conv_batchnorm(module)(batch), module(batch))


def test_what_cannot_be_traced_is_copied_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, values: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(values) if values.sum() > 0 else values)

    module = Branching().train()
    copied = fuse_conv_batchnorm(module)
    assert copied is not module
    assert not copied.training
    assert module.training
    values = torch.ones(1, 3)
    assert torch.equal(copied(values), module(values))
