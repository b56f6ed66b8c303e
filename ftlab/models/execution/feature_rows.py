"""How features are kept: float32, or half precision with an exponent of their own for each vector.

A row of half precision holds D float16 values and, at its end, the exponent of the power of two that they are
multiplied by. The largest value of the vector then lies near the top of float16's range, whatever the backbone gives:
nothing overflows, and each value is off by at most 2⁻¹¹ of itself (0.05 %), or 2⁻³⁹ of the largest if that is more.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROW_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
"""By precision, as the settings name it."""
_TOP_EXPONENT = 15
"""The largest value of a vector is scaled to less than 2¹⁵, half of what float16 can hold."""
_MIN_EXPONENT, _MAX_EXPONENT = -126, 126
"""Exponents of powers of two that are normal numbers of float32, and whose reciprocals are."""
_FLOAT32_BIAS, _FLOAT32_FRACTION_BITS = 127, 23


def count_row_values(feature_count: int, precision: str) -> int:
    """Return the length of a row, W, for vectors of `feature_count` values."""
    return feature_count + (precision == "fp16")


def pack_rows(vectors: Tensor, precision: str) -> Tensor:
    """Return feature vectors in the form in which they are kept.

    Args:
        vectors: float32 [..., D]. Infinite and undefined values stay what they are.
        precision: key of `ROW_DTYPES`.

    Returns:
        float16 [..., D + 1] for `fp16`; `vectors` for `fp32`.
    """
    if precision == "fp32":
        return vectors
    if not vectors.numel():  # no image of a chunk could be read
        return vectors.new_empty(*vectors.shape[:-1], vectors.shape[-1] + 1, dtype=torch.float16)
    largest = vectors.abs().amax(dim=-1, keepdim=True)
    exponents = torch.frexp(largest).exponent - _TOP_EXPONENT
    exponents = exponents.clamp(_MIN_EXPONENT, _MAX_EXPONENT).where(largest.isfinite(), 0)
    return torch.cat([vectors * _power_of_two(-exponents), exponents.float()], dim=-1).half()


def unpack_rows(rows: Tensor) -> Tensor:
    """Return the feature vectors of rows that `pack_rows` has made.

    Args:
        rows: float16 [..., D + 1], or float32 [..., D].

    Returns:
        float32 [..., D], the same for the same rows on every device.
    """
    if rows.dtype == torch.float32:
        return rows
    return rows[..., :-1].float() * _power_of_two(rows[..., -1:].int())


def _power_of_two(exponents: Tensor) -> Tensor:
    """Return 2 to the power of integers between -126 and 127, float32 and exact: `exp2` need not be."""
    return ((exponents.int() + _FLOAT32_BIAS) << _FLOAT32_FRACTION_BITS).view(torch.float32)
