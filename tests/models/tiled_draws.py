"""Random weights for tests that want some, and do not ask how they are distributed: a tenth of the time."""

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
    """Networks built meanwhile draw a piece of each large tensor, and repeat it until the tensor is full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "normal_", _tiled(Tensor.normal_))
        patch.setattr(Tensor, "uniform_", _tiled(Tensor.uniform_))
        patch.setattr(nn.init, "trunc_normal_", _tiled(nn.init.trunc_normal_))
        yield


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
