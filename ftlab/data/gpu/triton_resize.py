"""The sums of `gpu_resize` in one Triton kernel, which torch ships for CUDA on Linux.

It does a small part of the work of matrix products: an output pixel is a sum over the few input pixels with a weight,
and no intermediate result is stored (Tillet et al., 2019, "Triton: an intermediate language and compiler for tiled
neural network computations", MAPL). The sums are integers, and the same.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

# Triton's default, set explicitly as it warns otherwise; without effect on integer sums.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

BLOCK_PIXELS = 256
"""Output pixels of a program instance."""
UNSPECIALIZED_SCALARS = ["count", "side", "max_taps"]
"""Arguments that one compiled kernel takes with any value."""
UNALIGNED_TABLES = ["crop_starts", "row_pitches", "crop_lengths", "tap_starts", "weights", "fraction_bits"]
"""Arguments that one compiled kernel takes with any address."""


def resize_squares_triton(
    pixels: Tensor,
    crop_starts: Tensor,
    row_pitches: Tensor,
    crop_lengths: Tensor,
    tap_starts: Tensor,
    weights: Tensor,
    fraction_bits: Tensor,
) -> Tensor:
    """Return the resized squares of a batch, uint8 [B, 3, S, S].

    Args:
        pixels: pixels of all images, uint8 [N, 3].
        crop_starts: int64 [B], index of the first pixel of each crop.
        row_pitches: int64 [B], pixels in a row of each image.
        crop_lengths: int64 [2 B], widths of the crops, then their heights.
        tap_starts: int32 [2 B, S], see `gpu_resize.ResizePlan`.
        weights: int32 [2 B, S, T].
        fraction_bits: int32 [2 B].
    """
    count, (_, side, max_taps) = len(crop_starts), weights.shape
    output = torch.empty(count, 3, side, side, dtype=torch.uint8, device=pixels.device)
    grid = (count, -(-side * side // BLOCK_PIXELS))
    tensors = (pixels, crop_starts, row_pitches, crop_lengths, tap_starts, weights, fraction_bits, output)
    resize_kernel[grid](*tensors, count, side, max_taps, BLOCK=BLOCK_PIXELS)
    return output


def verify_kernel(device: torch.device) -> None:
    """Compute one pixel from two, which compiles the kernel; waits for the device.

    An incomplete compiler may raise any other exception.

    Args:
        device: device to run on.

    Raises:
        RuntimeError: the result is wrong.
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


# One kernel for all batches: by default Triton compiles another one, in the middle of a training, when a number or an
# address happens to be a multiple of 16, or a number is 1.
@triton.jit(  # type: ignore[untyped-decorator]
    do_not_specialize=UNSPECIALIZED_SCALARS, do_not_specialize_on_alignment=UNALIGNED_TABLES
)
def resize_kernel(  # type: ignore[no-untyped-def]
    pixels,
    crop_starts,
    row_pitches,
    crop_lengths,
    tap_starts,
    weights,
    fraction_bits,
    output,
    count,
    side,
    max_taps,
    BLOCK: tl.constexpr,
):
    """Compute `BLOCK` pixels of one square, all three channels; grid: (images, blocks of a square)."""
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
            source_y = tl.minimum(first_y + j, crop_height - 1)  # taps beyond the crop have weight 0
            row_start = (crop_start + source_y * row_pitch) * 3 + channel
            row_total = tl.zeros([BLOCK], dtype=tl.int32)
            for i in range(max_taps):
                source_x = tl.minimum(first_x + i, crop_width - 1)
                pixel = tl.load(pixels + row_start + source_x * 3, mask=mask, other=0).to(tl.int32)
                row_total += pixel * tl.load(weights + tap_row_x * max_taps + i, mask=mask, other=0)
            # Rounded to whole levels after each axis, as torch does.
            level = (row_total + (1 << (bits_x - 1))) >> bits_x
            level = tl.minimum(tl.maximum(level, 0), 255)
            column_total += level * tl.load(weights + tap_row_y * max_taps + j, mask=mask, other=0)
        level = (column_total + (1 << (bits_y - 1))) >> bits_y
        level = tl.minimum(tl.maximum(level, 0), 255)
        tl.store(output + (image * 3 + channel) * side * side + square_offsets, level.to(tl.uint8), mask=mask)
