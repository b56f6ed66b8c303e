"""The sums of `resample` in one kernel, where there is Triton: torch brings it for CUDA on Linux.

It is a small part of the work of products of matrices: a pixel is made of the few that have a weight, and nothing lies
in memory in between (Tillet et al., 2019, "Triton: an intermediate language and compiler for tiled neural network
computations", MAPL). The numbers are whole, and the same.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

# What Triton does by itself so far; it warns as long as nobody says so. There are no fractions here.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

_BLOCK = 256
"""Pixels that a program makes."""
_NUMBERS = ["count", "side", "most"]
_TABLES = ["corners", "pitches", "lengths", "lowest", "weights", "bits"]


def squares(
    pixels: Tensor, corners: Tensor, pitches: Tensor, lengths: Tensor, lowest: Tensor, weights: Tensor, bits: Tensor
) -> Tensor:
    """uint8 [B, 3, side, side].

    Args:
        pixels: of all pictures, uint8 [N, 3].
        corners: int64 [B], where in them the part of a picture begins that is seen.
        pitches: int64 [B], pixels in a row of the picture.
        lengths: int64 [2 B], widths of the parts, then their heights.
        lowest, weights, bits: int32, of their rows, then of their columns; see `resample.Scaling`.
    """
    count, (_, side, most) = len(corners), weights.shape
    made = torch.empty(count, 3, side, side, dtype=torch.uint8, device=pixels.device)
    grid = (count, -(-side * side // _BLOCK))
    given = (pixels, corners, pitches, lengths, lowest, weights, bits, made)
    _squares[grid](*given, count, side, most, BLOCK=_BLOCK)
    return made


def attempt(device: torch.device) -> None:
    """Make one pixel of two, which compiles the kernel; waits for the device.

    Raises:
        RuntimeError: it computes something else.
        Exception: whatever a compiler that is not complete here raises.
    """
    one = torch.ones(2, dtype=torch.int64, device=device)
    pixels = torch.tensor([[2, 4, 6], [10, 20, 31]], dtype=torch.uint8, device=device)
    weights = torch.tensor([[[1, 1]], [[2, 0]]], dtype=torch.int32, device=device)
    lengths = torch.tensor([2, 1], device=device)
    made = squares(pixels, one[:1] - 1, one[:1] + 1, lengths, (one[:, None] - 1).int(), weights, one.int())
    if made.flatten().tolist() != [6, 12, 19]:
        raise RuntimeError(f"a kernel that computes {made.flatten().tolist()}")


# One program for all batches: by itself Triton compiles another one, in the midst of a training, where a number or an
# address happens to be a multiple of 16, or a number is 1.
@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_TABLES)
def _squares(pixels, corners, pitches, lengths, lowest, weights, bits, made, count, side, most, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # fmt: skip
    picture = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < side * side
    across, down = picture * side + at % side, (count + picture) * side + at // side
    wide, tall = tl.load(lengths + picture), tl.load(lengths + count + picture)
    bits_x, bits_y = tl.load(bits + picture), tl.load(bits + count + picture)
    first_x = tl.load(lowest + across, mask=inside, other=0)
    first_y = tl.load(lowest + down, mask=inside, other=0)
    corner, pitch = tl.load(corners + picture), tl.load(pitches + picture)
    for channel in range(3):
        column = tl.zeros([BLOCK], dtype=tl.int32)
        for j in range(most):
            row = tl.minimum(first_y + j, tall - 1)  # behind the last one weights are 0
            line = (corner + row * pitch) * 3 + channel
            total = tl.zeros([BLOCK], dtype=tl.int32)
            for i in range(most):
                here = tl.minimum(first_x + i, wide - 1)
                pixel = tl.load(pixels + line + here * 3, mask=inside, other=0).to(tl.int32)
                total += pixel * tl.load(weights + across * most + i, mask=inside, other=0)
            level = (total + (1 << (bits_x - 1))) >> bits_x
            level = tl.minimum(tl.maximum(level, 0), 255)
            column += level * tl.load(weights + down * most + j, mask=inside, other=0)
        level = (column + (1 << (bits_y - 1))) >> bits_y
        level = tl.minimum(tl.maximum(level, 0), 255)
        tl.store(made + (picture * 3 + channel) * side * side + at, level.to(tl.uint8), mask=inside)
