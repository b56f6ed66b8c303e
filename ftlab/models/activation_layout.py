"""A layer's output as a map over places, whatever order its dimensions have."""

from __future__ import annotations

import math

from torch import Tensor


def to_feature_map(values: Tensor, layout: str, num_prefix_tokens: int) -> Tensor:
    """[1, …] as a layer gives it -> [C, h, w].

    Args:
        layout: `chw`, `hwc`, or `num_prefix_tokens` (row by row), as in a backbone's row.
        num_prefix_tokens: those that stand for no place and come first.
    """
    activation = values[0]
    if layout == "tokens":
        grid_tokens = activation[num_prefix_tokens:]
        grid_size = math.isqrt(len(grid_tokens))
        return grid_tokens.T.reshape(-1, grid_size, grid_size)
    return activation.permute(2, 0, 1) if layout == "hwc" else activation
