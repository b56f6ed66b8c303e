"""The sums of `gpu_resize` in one kernel, where there is Triton: torch brings it for CUDA on Linux.

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

BLOCK_PIXELS = 256
"""Pixels that a program makes."""
UNSPECIALIZED_SCALARS = ["count", "side", "max_taps"]
UNALIGNED_TABLES = ["crop_starts", "row_pitches", "crop_lengths", "tap_starts", "weights", "fraction_bits"]


def resize_squares_triton(
    pixels: Tensor,
    crop_starts: Tensor,
    row_pitches: Tensor,
    crop_lengths: Tensor,
    tap_starts: Tensor,
    weights: Tensor,
    fraction_bits: Tensor,
) -> Tensor:
    """uint8 [B, 3, side, side].

    Args:
        pixels: of all pictures, uint8 [N, 3].
        crop_starts: int64 [B], where in them the part of a picture begins that is seen.
        row_pitches: int64 [B], pixels in a row of the picture.
        crop_lengths: int64 [2 B], widths of the parts, then their heights.
        tap_starts, weights, fraction_bits: int32, of their rows, then of their columns; see `gpu_resize.ResizePlan`.
    """
    count, (_, side, max_taps) = len(crop_starts), weights.shape
    output = torch.empty(count, 3, side, side, dtype=torch.uint8, device=pixels.device)
    grid = (count, -(-side * side // BLOCK_PIXELS))
    tensors = (pixels, crop_starts, row_pitches, crop_lengths, tap_starts, weights, fraction_bits, output)
    resize_kernel[grid](*tensors, count, side, max_taps, BLOCK=BLOCK_PIXELS)
    return output


def verify_kernel(device: torch.device) -> None:
    """Make one pixel of two, which compiles the kernel; waits for the device.

    Raises:
        RuntimeError: it computes something else.
        Exception: whatever a compiler that is not complete here raises.
    """
    ones_tensor = torch.ones(2, dtype=torch.int64, device=device)
    pixels = torch.tensor([[2, 4, 6], [10, 20, 31]], dtype=torch.uint8, device=device)
    weights = torch.tensor([[[1, 1]], [[2, 0]]], dtype=torch.int32, device=device)
    crop_lengths = torch.tensor([2, 1], device=device)
    output = resize_squares_triton(
        pixels,
        ones_tensor[:1] - 1,
        ones_tensor[:1] + 1,
        crop_lengths,
        (ones_tensor[:, None] - 1).int(),
        weights,
        ones_tensor.int(),
    )
    if output.flatten().tolist() != [6, 12, 19]:
        raise RuntimeError(f"a kernel that computes {output.flatten().tolist()}")


# One program for all batches: by itself Triton compiles another one, in the midst of a training, where a number or an
# address happens to be a multiple of 16, or a number is 1.
@triton.jit(do_not_specialize=UNSPECIALIZED_SCALARS, do_not_specialize_on_alignment=UNALIGNED_TABLES)
def resize_kernel(pixels, crop_starts, row_pitches, crop_lengths, tap_starts, weights, fraction_bits, output, count, side, max_taps, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # fmt: skip
    image = tl.program_id(0)
    square_offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = square_offsets < side * side
    tap_row_x, tap_row_y = image * side + square_offsets % side, (count + image) * side + square_offsets // side
    crop_width, crop_height = tl.load(crop_lengths + image), tl.load(crop_lengths + count + image)
    bits_x, bits_y = tl.load(fraction_bits + image), tl.load(fraction_bits + count + image)
    first_x = tl.load(tap_starts + tap_row_x, mask=mask, other=0)
    first_y = tl.load(tap_starts + tap_row_y, mask=mask, other=0)
    crop_start, row_pitch = tl.load(crop_starts + image), tl.load(row_pitches + image)
    for channel in range(3):
        column_total = tl.zeros([BLOCK], dtype=tl.int32)
        for j in range(max_taps):
            source_y = tl.minimum(first_y + j, crop_height - 1)  # behind the last one weights are 0
            row_start = (crop_start + source_y * row_pitch) * 3 + channel
            row_total = tl.zeros([BLOCK], dtype=tl.int32)
            for i in range(max_taps):
                source_x = tl.minimum(first_x + i, crop_width - 1)
                pixel = tl.load(pixels + row_start + source_x * 3, mask=mask, other=0).to(tl.int32)
                row_total += pixel * tl.load(weights + tap_row_x * max_taps + i, mask=mask, other=0)
            level = (row_total + (1 << (bits_x - 1))) >> bits_x
            level = tl.minimum(tl.maximum(level, 0), 255)
            column_total += level * tl.load(weights + tap_row_y * max_taps + j, mask=mask, other=0)
        level = (column_total + (1 << (bits_y - 1))) >> bits_y
        level = tl.minimum(tl.maximum(level, 0), 255)
        tl.store(output + (image * 3 + channel) * side * side + square_offsets, level.to(tl.uint8), mask=mask)
