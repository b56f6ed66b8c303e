"""Crop and resize whole batches on a device, bit for bit as `preprocess.resize_to_size` does it for one image.

torch resizes uint8 with antialiasing in integers: a row of weights for each output pixel, as 16-bit numbers, first
along the rows, then along the columns, rounded after each (`ATen/native/cpu/UpSampleKernel.cpp`, after Pillow's
`Resample.c`). Here the CPU computes the weights (`resize_taps`), and one Triton kernel computes the sums of a batch.
Without Triton, the weights become matrices, and two matrix products do it. They are computed in float32 and yet exact:
each weight is split into two halves of eight bits, so that no sum is longer than float32's 24 bits, in whatever order,
and even if products are computed in TF32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ftlab.core import lazy_import
from ftlab.data.gpu.resize_taps import compute_axis_taps
from ftlab.data.transforms.preprocess import Preprocessing, center_crop_box, compute_resized_size

MAX_CHUNK_PIXELS = 16_000_000
"""Pixels that are resized at a time without Triton: each takes some forty bytes."""


class CropBox(NamedTuple):
    """The part of an image that is resized, and the square that is cut from the result; all in pixels.

    Attributes:
        top, left, height, width: the part, within the image.
        scaled_height, scaled_width: size to which it is scaled.
        square_top, square_left: top left corner of the square, within the scaled part.
    """

    top: int
    left: int
    height: int
    width: int
    scaled_height: int
    scaled_width: int
    square_top: int = 0
    square_left: int = 0


def eval_crop_box(height: int, width: int, prep: Preprocessing) -> CropBox:
    """Return the crop box that gives what `preprocess.resize_and_center_crop` gives for an image of that size.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        prep: sizes and interpolation.
    """
    square_top, square_left, _ = center_crop_box(width, height, prep)
    return CropBox(0, 0, height, width, *compute_resized_size(width, height, prep), square_top, square_left)


@dataclass(frozen=True)
class ResizePlan:
    """Tables that tell a device how to make a square of each of B concatenated images.

    Computed on the CPU, which meets the same lengths again and again (they are cached); a device would need some thirty
    small kernels for each batch, which takes longer than all the sums.

    Attributes:
        crop_sizes: height and width of the crop of each image.
        crop_layout: int64 [4, B]: index of the crop's first pixel in the pixels of all images, pixels in a row of the
            image, and the crop's width and height.
        tap_starts: int32 [2 B, S], for the columns of all squares, then for their rows, the first input pixel with a
            weight.
        weights: int32 [2 B, S, T], of that pixel and of those after it; padded with 0.
        fraction_bits: int32 [2 B], fractional bits of the fixed-point weights.
    """

    crop_sizes: list[tuple[int, int]]
    crop_layout: Tensor
    tap_starts: Tensor
    weights: Tensor
    fraction_bits: Tensor

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """All tables, the one of int64 first.

        Concatenated from a multiple of 8 bytes on, each is aligned to its elements.
        """
        return self.crop_layout, self.tap_starts, self.weights, self.fraction_bits

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables)

    def view_in_buffer(self, buffer: Tensor, start: int) -> ResizePlan:
        """Return the plan with tables that are views into `buffer`, uint8 [N], from byte `start` on, on its device."""
        tables = []
        for table in self.tables:
            end = start + table.nbytes
            tables.append(buffer[start:end].view(table.dtype).view(table.shape))
            start = end
        return ResizePlan(self.crop_sizes, *tables)


def plan_resize(
    sizes: Sequence[tuple[int, int]], crops: Sequence[CropBox], side: int, interpolation: str
) -> ResizePlan:
    """Return the tables for `resize_squares`.

    Args:
        sizes: height and width of each image.
        crops: crop box of each image; the square lies within the scaled part.
        side: width and height of the squares in pixels.
        interpolation: `bilinear` or `bicubic`, antialiased.
    """
    image_starts = np.cumsum([0, *(height * width for height, width in sizes)])[:-1].tolist()
    layout_rows = [
        (image_start + crop.top * width + crop.left, width, crop.width, crop.height)
        for image_start, (_, width), crop in zip(image_starts, sizes, crops, strict=True)
    ]
    axis_taps = [(compute_axis_taps(crop.width, crop.scaled_width, interpolation), crop.square_left) for crop in crops]
    axis_taps += [
        (compute_axis_taps(crop.height, crop.scaled_height, interpolation), crop.square_top) for crop in crops
    ]
    # All axes of a batch are padded to the largest number of taps.
    max_taps = max((taps.weights.shape[1] for taps, _ in axis_taps), default=1)
    tap_starts, weights = (
        np.empty((len(axis_taps), side), np.int32),
        np.zeros((len(axis_taps), side, max_taps), np.int32),
    )
    for axis, (taps, offset) in enumerate(axis_taps):
        tap_starts[axis] = taps.tap_starts[offset : offset + side]
        weights[axis, :, : taps.weights.shape[1]] = taps.weights[offset : offset + side]
    fraction_bits = np.array([taps.fraction_bits for taps, _ in axis_taps], np.int32)
    crop_layout = torch.tensor(layout_rows, dtype=torch.int64).view(len(crops), 4).T.contiguous()
    crop_sizes = [(crop.height, crop.width) for crop in crops]
    return ResizePlan(
        crop_sizes,
        crop_layout,
        torch.from_numpy(tap_starts),
        torch.from_numpy(weights),
        torch.from_numpy(fraction_bits),
    )


def resize_squares(buffer: Tensor, resize_plan: ResizePlan) -> Tensor:
    """Return a square of each image, uint8 [B, 3, S, S], on their device, without waiting for it.

    Args:
        buffer: the images, concatenated, uint8 [N], each [H, W, 3] as decoded; may hold other bytes after them.
        resize_plan: plan of the squares, with tables on the same device.
    """
    # Other bytes may follow the images, and their number need not be a multiple of 3.
    pixels = buffer[: len(buffer) // 3 * 3].view(-1, 3)
    if kernel := load_triton_kernel(buffer.device):
        crop_starts, row_pitches, crop_lengths = (
            resize_plan.crop_layout[0],
            resize_plan.crop_layout[1],
            resize_plan.crop_layout[2:].flatten(),
        )
        output: Tensor = kernel.resize_squares_triton(
            pixels,
            crop_starts,
            row_pitches,
            crop_lengths,
            resize_plan.tap_starts,
            resize_plan.weights,
            resize_plan.fraction_bits,
        )
        return output
    chunk_outputs = [_resize_by_matmul(pixels, resize_plan, chunk) for chunk in iter_chunks(resize_plan.crop_sizes)]
    return torch.cat(chunk_outputs) if len(chunk_outputs) != 1 else chunk_outputs[0]


def iter_chunks(crop_sizes: Sequence[tuple[int, int]]) -> Iterator[slice]:
    """Yield slices of consecutive images that are resized together, each padded to the largest of them."""
    start, max_height, max_width = 0, 0, 0
    for index, (height, width) in enumerate(crop_sizes):
        max_height, max_width = max(max_height, height), max(max_width, width)
        if index > start and max_height * max_width * (index + 1 - start) > MAX_CHUNK_PIXELS:
            yield slice(start, index)
            start, max_height, max_width = index, height, width
    yield slice(start, len(crop_sizes))


@cache
def load_triton_kernel(device: torch.device) -> ModuleType | None:
    """Return the Triton module if its kernel works on the device; None if matrix products must do."""
    uses_interpreter = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own way to run a kernel without a GPU
    if not (device.type == "cuda" or uses_interpreter) or not find_spec("triton"):
        return None
    try:
        kernel_module = lazy_import.import_module("ftlab.data.gpu.triton_resize")
        kernel_module.verify_kernel(device)
    except Exception:  # an incomplete compiler raises anything: the matrix products give the same
        return None
    return kernel_module


def _resize_by_matmul(pixels: Tensor, resize_plan: ResizePlan, chunk: slice) -> Tensor:
    """Return the squares of a chunk of images by two matrix products, uint8 [b, 3, S, S]."""
    crop_starts, row_pitches = resize_plan.crop_layout[:2, chunk, None, None]
    # Pixels right of a crop or below it have weight 0, so any pixel of the buffer may stand in for them.
    max_height, max_width = (max(lengths) for lengths in zip(*resize_plan.crop_sizes[chunk], strict=True))
    pixel_indices = crop_starts + torch.arange(max_width, device=pixels.device)
    pixel_indices = pixel_indices + row_pitches * torch.arange(max_height, device=pixels.device)[:, None]
    crops = pixels.index_select(0, pixel_indices.clamp_(max=len(pixels) - 1).flatten()).view(*pixel_indices.shape, 3)
    # Channels become a batch dimension of the matrix products.
    planes = crops.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # [2 B, …] -> [2, b, …]: first the tables of the columns, then those of the rows.
    tap_starts, weights, fraction_bits = (
        table.unflatten(0, (2, -1))[:, chunk]
        for table in (resize_plan.tap_starts, resize_plan.weights, resize_plan.fraction_bits)
    )
    row_weights, column_weights = (
        _build_weight_matrices(tap_starts[0], weights[0], max_width).mT,
        _build_weight_matrices(tap_starts[1], weights[1], max_height),
    )
    fraction_bits = fraction_bits[..., None, None, None]
    resized_rows = _round_sums([planes @ half for half in row_weights], fraction_bits[0])
    return _round_sums([half @ resized_rows for half in column_weights], fraction_bits[1]).to(torch.uint8)


def _build_weight_matrices(tap_starts: Tensor, weights: Tensor, axis_length: int) -> Tensor:
    """Return the weights of an axis as dense matrices, split into upper halves and lower eight bits.

    Args:
        tap_starts: int32 [b, S].
        weights: int32 [b, S, T].
        axis_length: L, pixels of the longest input axis.

    Returns:
        float32 [2, b, 1, S, L].
    """
    batch_size, side, tap_count = weights.shape
    pixel_indices = tap_starts[..., None] + torch.arange(tap_count, device=tap_starts.device)
    dense = torch.zeros(batch_size, 1, side, axis_length, device=pixel_indices.device)
    # `add`, as taps behind the axis are clamped onto its last pixel, with weight 0.
    dense[:, 0].scatter_add_(2, pixel_indices.clamp_(max=axis_length - 1), weights.float())
    high_bytes = (dense / 256).round_()
    return torch.stack([high_bytes, dense - 256 * high_bytes])


def _round_sums(sums: Sequence[Tensor], fraction_bits: Tensor) -> Tensor:
    """Return the rounded levels of weighted sums, float32 with integers in [0, 255].

    Args:
        sums: upper and lower half of the sums.
        fraction_bits: fractional bits of the weights.
    """
    high_sum, low_sum = (half_sum.int() for half_sum in sums)
    # Adding a half before the shift rounds as torch does; the clamp cuts bicubic's overshoot.
    return ((high_sum * 256 + low_sum + (1 << fraction_bits - 1)) >> fraction_bits).clamp_(0, 255).float()
