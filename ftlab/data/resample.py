"""Squares cut out of pictures and scaled, in whole batches on a device, to the bits that `transforms.scale` gives one.

torch resizes bytes with antialiasing in whole numbers: a row of weights for each pixel made, as 16-bit numbers, first
along the rows, then along the columns, rounded after each (`ATen/native/cpu/UpSampleKernel.cpp`, after Pillow's
`Resample.c`). Here the weights of a batch are matrices, and two products do the sums. They are taken in float32 and
are whole numbers nevertheless: each weight goes in two halves of eight bits, so that no sum is longer than float32's 24
bits, whatever the order, and even where products are computed in TF32.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ftlab import loading
from ftlab.data import transfer
from ftlab.data.transforms import Preprocessing, crop_box, scaled

_AT_ONCE = 16_000_000
"""Pixels that are in the works at a time: each takes some forty bytes."""


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


def squares(
    flat: Tensor, sizes: Sequence[tuple[int, int]], cuts: Sequence[Cut], side: int, interpolation: str
) -> Tensor:
    """A square of each picture, uint8 [B, 3, side, side], on their device; nothing waits for that.

    Args:
        flat: the pictures one behind the other, uint8 [N], each [H, W, 3] as decoded.
        sizes: their H and W.
        cuts: what is made of each; the square lies within what it is scaled to.
        interpolation: `bilinear` or `bicubic`, antialiased.
    """
    starts = np.cumsum([0, *(height * width for height, width in sizes)])
    pixels, parts = flat.view(-1, 3), []
    for some in [slice(0, len(cuts))] if _kernel(flat.device) else _chunks(cuts):
        rows = [[start, width] for start, (_, width) in zip(starts[some].tolist(), sizes[some], strict=True)]
        parts.append(_squares(pixels, rows, cuts[some], side, interpolation))
    return torch.cat(parts) if len(parts) != 1 else parts[0]


def _chunks(cuts: Sequence[Cut]) -> Iterator[slice]:
    """Consecutive pictures that are in the works together: all take as much room as the largest of them."""
    start, tall, wide = 0, 0, 0
    for number, cut in enumerate(cuts):
        tall, wide = max(tall, cut.height), max(wide, cut.width)
        if number > start and tall * wide * (number + 1 - start) > _AT_ONCE:
            yield slice(start, number)
            start, tall, wide = number, cut.height, cut.width
    yield slice(start, len(cuts))


@cache
def _kernel(device: torch.device) -> ModuleType | None:
    """What does the sums of a device in one go, where it is to be had: else products of matrices do."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own way to try a kernel without a card
    if not (device.type == "cuda" or interpreted) or not find_spec("triton"):
        return None
    try:
        found = loading.module("ftlab.data.kernel")
        found.attempt(device)
    except Exception:  # whatever a compiler lacks here: the products are there, and give the same
        return None
    return found


class Taps(NamedTuple):
    """By what the pixels of an axis become others, of each of A axes, of pictures' rows or columns.

    Attributes:
        lowest: int64 [A, side], the first pixel that has a weight.
        weights: float64 [A, side, T], whole numbers, of it and those after; 0 behind the last.
        bits: int32 [A], behind the point of the weights.
    """

    lowest: Tensor
    weights: Tensor
    bits: Tensor


def _squares(pixels: Tensor, rows: list[list[int]], cuts: Sequence[Cut], side: int, interpolation: str) -> Tensor:
    told = torch.tensor([[*row, *cut] for row, cut in zip(rows, cuts, strict=True)]).T.contiguous()
    start, pitch, top, left, height, width, tall, wide, y, x = transfer.small(told, pixels.device)
    known = [(cut.width, cut.wide) for cut in cuts] + [(cut.height, cut.tall) for cut in cuts]
    lengths, outs, firsts = torch.cat([width, height]), torch.cat([wide, tall]), torch.cat([x, y])
    taps = _taps(lengths, outs, firsts, known, side, interpolation)
    corners = start + top * pitch + left
    if kernel := _kernel(pixels.device):
        made: Tensor = kernel.squares(pixels, corners, pitch, lengths, *(one.int() for one in taps))
        return made
    # What lies right of a part or below it has no weight, and may be any pixel that there is.
    deep, long = max(cut.height for cut in cuts), max(cut.width for cut in cuts)
    at = corners[:, None, None] + torch.arange(long, device=pixels.device)
    at = at + pitch[:, None, None] * torch.arange(deep, device=pixels.device)[:, None]
    whole = pixels.index_select(0, at.clamp_(max=len(pixels) - 1).flatten()).view(*at.shape, 3)
    planes = whole.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    halves, bits = _matrices(taps, max(deep, long)), taps.bits[:, None, None, None]
    across, down = halves[:, : len(cuts), None, :, :long].mT, halves[:, len(cuts) :, None, :, :deep]
    narrow = _rounded([planes @ half for half in across], bits[: len(cuts)])
    return _rounded([half @ narrow for half in down], bits[len(cuts) :]).to(torch.uint8)


def _taps(
    length: Tensor, out: Tensor, first: Tensor, known: Sequence[tuple[int, int]], side: int, interpolation: str
) -> Taps:
    """For `side` pixels made of each axis.

    Args:
        length, out, first: int64 [A]: pixels that there are, to how many they are scaled, the first that is wanted.
        known: the same lengths and outs, where they can be read without waiting.
    """
    window, reach = _WINDOWS[interpolation]
    # float64 as torch has it: a weight a bit off would be rounded otherwise.
    scale = (length / out.double())[:, None]
    support, made = reach * scale.clamp_min(1), torch.arange(max(one for _, one in known), device=out.device)
    centre = scale * (made + 0.5)
    lowest = (centre - support + 0.5).long().clamp_min_(0)
    count = torch.minimum((centre + support + 0.5).long(), length[:, None]) - lowest
    count = torch.minimum(count, (support.ceil() * 2 + 1).long()) * (made < out[:, None])
    tap = torch.arange(max(2 * math.ceil(reach * max(1.0, a / b)) + 1 for a, b in known), device=out.device)
    weights = window(
        ((tap + lowest[..., None]) - centre[..., None] + 0.5) * scale.reciprocal().clamp_max_(1)[..., None]
    )
    weights = weights * (tap < count[..., None])
    weights = torch.nan_to_num_(weights / weights.sum(-1, keepdim=True))
    # As many bits as leave the largest weight of an axis below 2^15.
    steps = 2.0 ** torch.arange(1, 23, device=out.device)
    bits = ((weights.amax((1, 2))[:, None] * steps + 0.5).floor() < 2**15).sum(1, dtype=torch.int32)
    wanted = first[:, None] + torch.arange(side, device=out.device)
    weights = torch.take_along_dim(weights, wanted[..., None], 1) * 2.0 ** bits[:, None, None]
    return Taps(torch.take_along_dim(lowest, wanted, 1), (weights + weights.sign() / 2).trunc(), bits)


def _matrices(taps: Taps, most: int) -> Tensor:
    """float32 [2, A, side, most]: upper halves of the weights of all pixels of an axis, and their lower eight bits."""
    many, side, count = taps.weights.shape
    at = taps.lowest[..., None] + torch.arange(count, device=taps.lowest.device)
    dense = torch.zeros(many, side, most, dtype=torch.float64, device=at.device)
    dense.scatter_add_(2, at.clamp_(max=most - 1), taps.weights)
    high = (dense / 256).round_()
    return torch.stack([high, dense - 256 * high]).float()


def _rounded(sums: Sequence[Tensor], bits: Tensor) -> Tensor:
    """Both halves of weighted sums as whole levels in [0, 255], float32."""
    high, low = (one.int() for one in sums)
    return ((high * 256 + low + (1 << bits - 1)) >> bits).clamp_(0, 255).float()


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' (1981, "Cubic convolution interpolation for digital image processing") with a = -0.5."""
    a, x = -0.5, x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


_WINDOWS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""The window of an interpolation, and how far it reaches, in pixels made."""
