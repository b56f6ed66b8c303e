"""Filter weights of antialiased resizing along one axis, as integers, bit for bit as torch computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_AXIS_CACHE_SIZE = 1024
"""Axes whose weights are cached: some ten kilobytes each, more for large images.

Crops have as many lengths as there are pixels along a side.
"""

Float64Array = npt.NDArray[np.float64]


class AxisTaps(NamedTuple):
    """Input pixels and weights of each output pixel along one axis.

    Attributes:
        tap_starts: int32 [L], the first input pixel with a weight.
        weights: int32 [L, T], of that pixel and of those after it; padded with 0.
        fraction_bits: fractional bits of the fixed-point weights.
    """

    tap_starts: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]
    fraction_bits: int


@lru_cache(_AXIS_CACHE_SIZE)
def compute_axis_taps(length: int, output_length: int, interpolation: str) -> AxisTaps:
    """Return the weights that resize an axis.

    Args:
        length: pixels of the input axis.
        output_length: L, pixels that it becomes.
        interpolation: `bilinear` or `bicubic`.
    """
    window, window_radius = _FILTER_WINDOWS[interpolation]
    # float64 as in torch: a weight that is off by one bit would be rounded differently.
    scale = length / output_length
    support, centers = window_radius * max(1.0, scale), scale * (np.arange(output_length) + 0.5)
    tap_starts = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    tap_counts = np.minimum((centers + support + 0.5).astype(np.int64), length) - tap_starts
    tap_counts = np.minimum(tap_counts, 2 * math.ceil(support) + 1)
    tap_offsets = np.arange(tap_counts.max())
    weights = window((tap_offsets + tap_starts[:, None] - centers[:, None] + 0.5) * min(1 / scale, 1.0))
    weights *= tap_offsets < tap_counts[:, None]
    total = weights.cumsum(1)[:, -1:]  # sums one by one as torch does; `sum` would add pairwise
    weights = np.divide(weights, total, out=weights, where=total != 0)
    # As many bits as keep the largest weight of the axis below 2^15, to fit into int16.
    fraction_bits = int((np.floor(weights.max() * 2.0 ** np.arange(1, 23) + 0.5) < 2**15).sum())
    weights *= 2.0**fraction_bits
    return AxisTaps(
        tap_starts.astype(np.int32), np.trunc(weights + np.sign(weights) / 2).astype(np.int32), fraction_bits
    )


def _triangle_window(x: Float64Array) -> Float64Array:
    """Return the triangle filter at `x`, in output pixels."""
    weights: Float64Array = np.maximum(1 - np.abs(x), 0)
    return weights


def _cubic_window(x: Float64Array) -> Float64Array:
    """Return the cubic convolution filter at `x`, in output pixels, with a = -0.5.

    Keys, 1981, "Cubic convolution interpolation for digital image processing".
    """
    a, x = -0.5, np.abs(x)
    inner_part = ((a + 2) * x - (a + 3)) * x * x + 1
    outer_part = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, inner_part, np.where(x < 2, outer_part, 0.0))


_FILTER_WINDOWS: dict[str, tuple[Callable[[Float64Array], Float64Array], float]] = {
    "bilinear": (_triangle_window, 1.0),
    "bicubic": (_cubic_window, 2.0),
}
"""Filter of each interpolation and its radius in output pixels."""
