"""A layer's output as a map over places, whatever order its dimensions have."""

from __future__ import annotations

import math

from torch import Tensor


def as_map(values: Tensor, layout: str, tokens: int) -> Tensor:
    """[1, …] as a layer gives it -> [C, h, w].

    Args:
        layout: `chw`, `hwc`, or `tokens` (row by row), as in a backbone's row.
        tokens: those that stand for no place and come first.
    """
    first = values[0]
    if layout == "tokens":
        places = first[tokens:]
        side = math.isqrt(len(places))
        return places.T.reshape(-1, side, side)
    return first.permute(2, 0, 1) if layout == "hwc" else first
