"""The faster copy of a frozen network, where not all can be folded.

That of every backbone is among the tests of the networks: the same numbers, no BatchNorm left, the original untouched.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftlab.models.execution.fuse_batchnorm import fuse_conv_batchnorm
from tests.support.random_networks import settle_norms


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_a_convolution_whose_output_goes_elsewhere_too_is_left_alone() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, pictures: Tensor) -> Tensor:
            seen = self.conv(pictures)
            return torch.as_tensor(self.norm(seen) + seen)

    module = Forked()
    settle_norms(module)
    module.eval()
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
