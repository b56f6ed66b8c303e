"""Squares cut out of pictures and scaled, in whole batches on a device, to the bits that `preprocess.resize_to_size` gives one.

torch resizes bytes with antialiasing in whole numbers: a row of weights for each pixel made, as 16-bit numbers, first
along the rows, then along the columns, rounded after each (`ATen/native/cpu/UpSampleKernel.cpp`, after Pillow's
`Resample.c`). Here the processor works out the weights, and one kernel does the sums of a batch. Where there is no
Triton, the weights are matrices, and two products do it. They are taken in float32 and are whole numbers nevertheless:
each weight goes in two halves of eight bits, so that no sum is longer than float32's 24 bits, whatever the order, and
even where products are computed in TF32.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftlab.core import lazy_import
from ftlab.data.transforms.preprocess import Preprocessing, center_crop_box, compute_resized_size

MAX_CHUNK_PIXELS = 16_000_000
"""Pixels that are in the works at a time: each takes some forty bytes."""
_AXIS_CACHE_SIZE = 1024
"""Axes whose weights are kept: some ten kilobytes each, more where pictures are large. Crops have as many lengths as
pixels along a side."""

Float64Array = npt.NDArray[np.float64]


class CropBox(NamedTuple):
    """Of a picture, the part that is seen, and what is made of that; all in pixels.

    Attributes:
        top, left, height, width: the part, within the picture.
        scaled_height, scaled_width: to which it is scaled.
        square_top, square_left: top and left, in that, of the square that is made.
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
    """What `preprocess.resize_and_center_crop` makes of a picture of that size: all of it scaled, and the middle of that."""
    square_top, square_left, _ = center_crop_box(width, height, prep)
    return CropBox(0, 0, height, width, *compute_resized_size(width, height, prep), square_top, square_left)


@dataclass(frozen=True)
class ResizePlan:
    """How a square is made of each of B pictures that lie one behind the other, as a device is told it.

    Worked out on the processor, which meets the same lengths again and again; a device would have to be asked for some
    thirty small kernels each time, which takes longer than all the sums.

    Attributes:
        crop_sizes: height and width of what is seen of each picture.
        crop_layout: int64 [4, B]: where in the pixels of all pictures that part begins, pixels in a row of the picture, the
            part's width and its height.
        tap_starts: int32 [2 B, side], for the pixels of each row that is made, then of each column, the first pixel that
            has a weight.
        weights: int32 [2 B, side, T], of it and of those after; 0 behind the last.
        fraction_bits: int32 [2 B], behind the point of the weights.
    """

    crop_sizes: list[tuple[int, int]]
    crop_layout: Tensor
    tap_starts: Tensor
    weights: Tensor
    fraction_bits: Tensor

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """All the numbers. One behind the other their bytes are a multiple of 8, as the place of the first must be."""
        return self.crop_layout, self.tap_starts, self.weights, self.fraction_bits

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables)

    def view_in_buffer(self, buffer: Tensor, start: int) -> ResizePlan:
        """The same with tables whose bytes lie in `buffer`, uint8 [N], from `start` on, on its device."""
        tables = []
        for table in self.tables:
            end = start + table.nbytes
            tables.append(buffer[start:end].view(table.dtype).view(table.shape))
            start = end
        return ResizePlan(self.crop_sizes, *tables)


def plan_resize(
    sizes: Sequence[tuple[int, int]], crops: Sequence[CropBox], side: int, interpolation: str
) -> ResizePlan:
    """What `resize_squares` is to be told.

    Args:
        sizes: height and width of the pictures.
        crops: what is made of each; the square lies within what it is scaled to.
        side: of the squares.
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
    """A square of each picture, uint8 [B, 3, side, side], on their device; nothing waits for that.

    Args:
        buffer: the pictures one behind the other, uint8 [N], each [H, W, 3] as decoded; whatever lies behind them.
        resize_plan: how they are made, with tables on the same device.
    """
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
    """Consecutive pictures that are in the works together: all take as much room as the largest of them."""
    start, max_height, max_width = 0, 0, 0
    for index, (height, width) in enumerate(crop_sizes):
        max_height, max_width = max(max_height, height), max(max_width, width)
        if index > start and max_height * max_width * (index + 1 - start) > MAX_CHUNK_PIXELS:
            yield slice(start, index)
            start, max_height, max_width = index, height, width
    yield slice(start, len(crop_sizes))


@cache
def load_triton_kernel(device: torch.device) -> ModuleType | None:
    """What does the sums of a device in one go, where it is to be had: else products of matrices do."""
    uses_interpreter = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own way to try a kernel without a card
    if not (device.type == "cuda" or uses_interpreter) or not find_spec("triton"):
        return None
    try:
        kernel_module = lazy_import.import_module("ftlab.data.gpu.triton_resize")
        kernel_module.verify_kernel(device)
    except Exception:  # whatever a compiler lacks here: the products are there, and give the same
        return None
    return kernel_module


def _resize_by_matmul(pixels: Tensor, resize_plan: ResizePlan, chunk: slice) -> Tensor:
    """Squares of some of the pictures."""
    crop_starts, row_pitches = resize_plan.crop_layout[:2, chunk, None, None]
    # What lies right of a part or below it has no weight, and may be any pixel that there is.
    max_height, max_width = (max(lengths) for lengths in zip(*resize_plan.crop_sizes[chunk], strict=True))
    pixel_indices = crop_starts + torch.arange(max_width, device=pixels.device)
    pixel_indices = pixel_indices + row_pitches * torch.arange(max_height, device=pixels.device)[:, None]
    crops = pixels.index_select(0, pixel_indices.clamp_(max=len(pixels) - 1).flatten()).view(*pixel_indices.shape, 3)
    planes = crops.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # Rows, then columns.
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
    """float32 [2, B, 1, side, most]: upper halves of the weights of all pixels of an axis, and their lower eight
    bits."""
    batch_size, side, tap_count = weights.shape
    pixel_indices = tap_starts[..., None] + torch.arange(tap_count, device=tap_starts.device)
    dense = torch.zeros(batch_size, 1, side, axis_length, device=pixel_indices.device)
    dense[:, 0].scatter_add_(2, pixel_indices.clamp_(max=axis_length - 1), weights.float())
    high_bytes = (dense / 256).round_()
    return torch.stack([high_bytes, dense - 256 * high_bytes])


def _round_sums(sums: Sequence[Tensor], fraction_bits: Tensor) -> Tensor:
    """Both halves of weighted sums as whole levels in [0, 255], float32."""
    high_sum, low_sum = (half_sum.int() for half_sum in sums)
    return ((high_sum * 256 + low_sum + (1 << fraction_bits - 1)) >> fraction_bits).clamp_(0, 255).float()


class AxisTaps(NamedTuple):
    """By what the `length` pixels of an axis become `out` others.

    Attributes:
        tap_starts: int32 [out], the first pixel that has a weight.
        weights: int32 [out, T], of it and those after; 0 behind the last.
        fraction_bits: behind the point of the weights.
    """

    tap_starts: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]
    fraction_bits: int


@lru_cache(_AXIS_CACHE_SIZE)
def compute_axis_taps(length: int, output_length: int, interpolation: str) -> AxisTaps:
    window, window_radius = _FILTER_WINDOWS[interpolation]
    # float64 as torch has it: a weight a bit off would be rounded otherwise.
    scale = length / output_length
    support, centers = window_radius * max(1.0, scale), scale * (np.arange(output_length) + 0.5)
    tap_starts = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    tap_counts = np.minimum((centers + support + 0.5).astype(np.int64), length) - tap_starts
    tap_counts = np.minimum(tap_counts, 2 * math.ceil(support) + 1)
    tap_offsets = np.arange(tap_counts.max())
    weights = window((tap_offsets + tap_starts[:, None] - centers[:, None] + 0.5) * min(1 / scale, 1.0))
    weights *= tap_offsets < tap_counts[:, None]
    total = weights.cumsum(1)[:, -1:]  # one after the other, as torch adds them
    weights = np.divide(weights, total, out=weights, where=total != 0)
    # As many bits as leave the largest weight of an axis below 2^15.
    fraction_bits = int((np.floor(weights.max() * 2.0 ** np.arange(1, 23) + 0.5) < 2**15).sum())
    weights *= 2.0**fraction_bits
    return AxisTaps(
        tap_starts.astype(np.int32), np.trunc(weights + np.sign(weights) / 2).astype(np.int32), fraction_bits
    )


def _triangle_window(x: Float64Array) -> Float64Array:
    return np.maximum(1 - np.abs(x), 0)


def _cubic_window(x: Float64Array) -> Float64Array:
    """Keys' (1981, "Cubic convolution interpolation for digital image processing") with a = -0.5."""
    a, x = -0.5, np.abs(x)
    inner_part = ((a + 2) * x - (a + 3)) * x * x + 1
    outer_part = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, inner_part, np.where(x < 2, outer_part, 0.0))


_FILTER_WINDOWS: dict[str, tuple[Callable[[Float64Array], Float64Array], float]] = {
    "bilinear": (_triangle_window, 1.0),
    "bicubic": (_cubic_window, 2.0),
}
"""The window of an interpolation, and how far it reaches, in pixels made."""
