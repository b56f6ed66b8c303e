"""Networks with random weights, for tests that do not ask how these are distributed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

PIECE = 65_521
"""Values drawn for a tensor, then repeated. A prime: no two rows of a matrix are then the same."""


@contextlib.contextmanager
def tiled_draws() -> Iterator[None]:
    """Networks built meanwhile draw a piece of each large tensor, and repeat it until the tensor is full: in a tenth of
    the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "normal_", _tiled(Tensor.normal_))
        patch.setattr(Tensor, "uniform_", _tiled(Tensor.uniform_))
        patch.setattr(nn.init, "trunc_normal_", _tiled(nn.init.trunc_normal_))
        yield


def settle_norms(module: nn.Module) -> None:
    """Give normalisations the running statistics and scales of some training, which do something."""
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


def _tiled(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def fill(tensor: Tensor, *arguments: Any, **named: Any) -> Tensor:
        if tensor.numel() <= PIECE or not tensor.is_contiguous():
            return draw(tensor, *arguments, **named)
        piece = draw(torch.empty(PIECE), *arguments, **named)
        with torch.no_grad():
            for part in tensor.view(-1).split(PIECE):
                part.copy_(piece[: len(part)])
        return tensor

    return fill
