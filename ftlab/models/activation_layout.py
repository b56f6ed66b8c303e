"""Conversion of a layer's output to a feature map, whatever the order of its dimensions."""

from __future__ import annotations

import math

from torch import Tensor


def to_feature_map(values: Tensor, layout: str, num_prefix_tokens: int) -> Tensor:
    """Convert the output of a layer for one image to a feature map.

    Args:
        values: [1, C, h, w], [1, h, w, C] or [1, tokens, C].
        layout: `chw`, `hwc` or `tokens` (row by row), as in `BackboneSpec.cam_layout`.
        num_prefix_tokens: number of tokens without a position (class token, registers) that come first.

    Returns:
        [C, h, w] of the same dtype.
    """
    activation = values[0]
    if layout == "tokens":
        grid_tokens = activation[num_prefix_tokens:]
        grid_size = math.isqrt(len(grid_tokens))
        return grid_tokens.T.reshape(-1, grid_size, grid_size)
    return activation.permute(2, 0, 1) if layout == "hwc" else activation
