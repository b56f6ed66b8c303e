"""Squares cut out of pictures and scaled, in whole batches on a device, to the bits that `transforms.scale` gives one.

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
from ftlab.data.transforms.preprocess import Preprocessing, crop_box, scaled

_AT_ONCE = 16_000_000
"""Pixels that are in the works at a time: each takes some forty bytes."""
_KNOWN = 1024
"""Axes whose weights are kept: some ten kilobytes each, more where pictures are large. Crops have as many lengths as
pixels along a side."""

Floats = npt.NDArray[np.float64]


class Cut(NamedTuple):
    """Of a picture, the part that is seen, and what is made of that; all in pixels.

    Attributes:
        top, left, height, width: the part, within the picture.
        tall, wide: to which it is scaled.
        y, x: top and left, in that, of the square that is made.
    """

    top: int
    left: int
    height: int
    width: int
    tall: int
    wide: int
    y: int = 0
    x: int = 0


def evaluation(height: int, width: int, prep: Preprocessing) -> Cut:
    """What `transforms.evaluation` makes of a picture of that size: all of it scaled, and the middle of that."""
    y, x, _ = crop_box(width, height, prep)
    return Cut(0, 0, height, width, *scaled(width, height, prep), y, x)


@dataclass(frozen=True)
class Scaling:
    """How a square is made of each of B pictures that lie one behind the other, as a device is told it.

    Worked out on the processor, which meets the same lengths again and again; a device would have to be asked for some
    thirty small kernels each time, which takes longer than all the sums.

    Attributes:
        parts: height and width of what is seen of each picture.
        heads: int64 [4, B]: where in the pixels of all pictures that part begins, pixels in a row of the picture, the
            part's width and its height.
        lowest: int32 [2 B, side], for the pixels of each row that is made, then of each column, the first pixel that
            has a weight.
        weights: int32 [2 B, side, T], of it and of those after; 0 behind the last.
        bits: int32 [2 B], behind the point of the weights.
    """

    parts: list[tuple[int, int]]
    heads: Tensor
    lowest: Tensor
    weights: Tensor
    bits: Tensor

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """All the numbers. One behind the other their bytes are a multiple of 8, as the place of the first must be."""
        return self.heads, self.lowest, self.weights, self.bits

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables)

    def within(self, flat: Tensor, start: int) -> Scaling:
        """The same with tables whose bytes lie in `flat`, uint8 [N], from `start` on, on its device."""
        found = []
        for table in self.tables:
            end = start + table.nbytes
            found.append(flat[start:end].view(table.dtype).view(table.shape))
            start = end
        return Scaling(self.parts, *found)


def scaling(sizes: Sequence[tuple[int, int]], cuts: Sequence[Cut], side: int, interpolation: str) -> Scaling:
    """What `squares` is to be told.

    Args:
        sizes: height and width of the pictures.
        cuts: what is made of each; the square lies within what it is scaled to.
        side: of the squares.
        interpolation: `bilinear` or `bicubic`, antialiased.
    """
    starts = np.cumsum([0, *(height * width for height, width in sizes)])[:-1].tolist()
    heads = [
        (start + cut.top * width + cut.left, width, cut.width, cut.height)
        for start, (_, width), cut in zip(starts, sizes, cuts, strict=True)
    ]
    axes = [(_taps(cut.width, cut.wide, interpolation), cut.x) for cut in cuts]
    axes += [(_taps(cut.height, cut.tall, interpolation), cut.y) for cut in cuts]
    most = max((taps.weights.shape[1] for taps, _ in axes), default=1)
    lowest, weights = np.empty((len(axes), side), np.int32), np.zeros((len(axes), side, most), np.int32)
    for number, (taps, first) in enumerate(axes):
        lowest[number] = taps.lowest[first : first + side]
        weights[number, :, : taps.weights.shape[1]] = taps.weights[first : first + side]
    bits = np.array([taps.bits for taps, _ in axes], np.int32)
    whole = torch.tensor(heads, dtype=torch.int64).view(len(cuts), 4).T.contiguous()
    parts = [(cut.height, cut.width) for cut in cuts]
    return Scaling(parts, whole, torch.from_numpy(lowest), torch.from_numpy(weights), torch.from_numpy(bits))


def squares(flat: Tensor, told: Scaling) -> Tensor:
    """A square of each picture, uint8 [B, 3, side, side], on their device; nothing waits for that.

    Args:
        flat: the pictures one behind the other, uint8 [N], each [H, W, 3] as decoded; whatever lies behind them.
        told: how they are made, with tables on the same device.
    """
    pixels = flat[: len(flat) // 3 * 3].view(-1, 3)
    if kernel := _kernel(flat.device):
        corners, pitches, lengths = told.heads[0], told.heads[1], told.heads[2:].flatten()
        made: Tensor = kernel.squares(pixels, corners, pitches, lengths, told.lowest, told.weights, told.bits)
        return made
    parts = [_products(pixels, told, some) for some in _chunks(told.parts)]
    return torch.cat(parts) if len(parts) != 1 else parts[0]


def _chunks(parts: Sequence[tuple[int, int]]) -> Iterator[slice]:
    """Consecutive pictures that are in the works together: all take as much room as the largest of them."""
    start, tall, wide = 0, 0, 0
    for number, (height, width) in enumerate(parts):
        tall, wide = max(tall, height), max(wide, width)
        if number > start and tall * wide * (number + 1 - start) > _AT_ONCE:
            yield slice(start, number)
            start, tall, wide = number, height, width
    yield slice(start, len(parts))


@cache
def _kernel(device: torch.device) -> ModuleType | None:
    """What does the sums of a device in one go, where it is to be had: else products of matrices do."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own way to try a kernel without a card
    if not (device.type == "cuda" or interpreted) or not find_spec("triton"):
        return None
    try:
        found = lazy_import.module("ftlab.data.gpu.triton_resize")
        found.attempt(device)
    except Exception:  # whatever a compiler lacks here: the products are there, and give the same
        return None
    return found


def _products(pixels: Tensor, told: Scaling, some: slice) -> Tensor:
    """Squares of some of the pictures."""
    corners, pitches = told.heads[:2, some, None, None]
    # What lies right of a part or below it has no weight, and may be any pixel that there is.
    deep, long = (max(lengths) for lengths in zip(*told.parts[some], strict=True))
    at = corners + torch.arange(long, device=pixels.device)
    at = at + pitches * torch.arange(deep, device=pixels.device)[:, None]
    whole = pixels.index_select(0, at.clamp_(max=len(pixels) - 1).flatten()).view(*at.shape, 3)
    planes = whole.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # Rows, then columns.
    lowest, weights, bits = (one.unflatten(0, (2, -1))[:, some] for one in (told.lowest, told.weights, told.bits))
    across, down = _matrices(lowest[0], weights[0], long).mT, _matrices(lowest[1], weights[1], deep)
    bits = bits[..., None, None, None]
    narrow = _rounded([planes @ half for half in across], bits[0])
    return _rounded([half @ narrow for half in down], bits[1]).to(torch.uint8)


def _matrices(lowest: Tensor, weights: Tensor, most: int) -> Tensor:
    """float32 [2, B, 1, side, most]: upper halves of the weights of all pixels of an axis, and their lower eight
    bits."""
    many, side, count = weights.shape
    at = lowest[..., None] + torch.arange(count, device=lowest.device)
    dense = torch.zeros(many, 1, side, most, device=at.device)
    dense[:, 0].scatter_add_(2, at.clamp_(max=most - 1), weights.float())
    high = (dense / 256).round_()
    return torch.stack([high, dense - 256 * high])


def _rounded(sums: Sequence[Tensor], bits: Tensor) -> Tensor:
    """Both halves of weighted sums as whole levels in [0, 255], float32."""
    high, low = (one.int() for one in sums)
    return ((high * 256 + low + (1 << bits - 1)) >> bits).clamp_(0, 255).float()


class _Taps(NamedTuple):
    """By what the `length` pixels of an axis become `out` others.

    Attributes:
        lowest: int32 [out], the first pixel that has a weight.
        weights: int32 [out, T], of it and those after; 0 behind the last.
        bits: behind the point of the weights.
    """

    lowest: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]
    bits: int


@lru_cache(_KNOWN)
def _taps(length: int, out: int, interpolation: str) -> _Taps:
    window, reach = _WINDOWS[interpolation]
    # float64 as torch has it: a weight a bit off would be rounded otherwise.
    scale = length / out
    support, centre = reach * max(1.0, scale), scale * (np.arange(out) + 0.5)
    lowest = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + support + 0.5).astype(np.int64), length) - lowest
    count = np.minimum(count, 2 * math.ceil(support) + 1)
    tap = np.arange(count.max())
    weights = window((tap + lowest[:, None] - centre[:, None] + 0.5) * min(1 / scale, 1.0))
    weights *= tap < count[:, None]
    total = weights.cumsum(1)[:, -1:]  # one after the other, as torch adds them
    weights = np.divide(weights, total, out=weights, where=total != 0)
    # As many bits as leave the largest weight of an axis below 2^15.
    bits = int((np.floor(weights.max() * 2.0 ** np.arange(1, 23) + 0.5) < 2**15).sum())
    weights *= 2.0**bits
    return _Taps(lowest.astype(np.int32), np.trunc(weights + np.sign(weights) / 2).astype(np.int32), bits)


def _triangle(x: Floats) -> Floats:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: Floats) -> Floats:
    """Keys' (1981, "Cubic convolution interpolation for digital image processing") with a = -0.5."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_WINDOWS: dict[str, tuple[Callable[[Floats], Floats], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""The window of an interpolation, and how far it reaches, in pixels made."""
