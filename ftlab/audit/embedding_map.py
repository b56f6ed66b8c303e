"""A data set in two dimensions, by what the backbone sees: pictures that look alike to it lie together.

t-SNE (van der Maaten and Hinton, 2008, JMLR 9, pages 2579-2605) on the 50 main directions, started from the two first
ones, so that the whole has its place too, and the same pictures always give the same map (Kobak and Berens, 2019,
Nature Communications 10, 5416). Exact, in matrices of at most a thousand pictures.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ftlab.audit.findings import Map, Point, Shown
from ftlab.core.errors import PictureError
from ftlab.core.machine import cores
from ftlab.data.images import decode

MOST = 800
"""Pictures on a map."""
FEWEST = 8
SIDE = 64
"""Pixels of a thumbnail."""
_DIRECTIONS = 50
_PERPLEXITY = 30.0
_STEPS, _EARLY, _EXAGGERATION = 400, 120, 12.0


def drawn(files: Sequence[Path], shown: Sequence[Shown], vectors: Tensor) -> Map | None:
    """The map of N pictures, None of fewer than eight.

    Args:
        files: of each picture.
        shown: what is said of it.
        vectors: float [N, D].
    """
    if len(files) < FEWEST:
        return None
    places = embedded(vectors)
    low, high = places.min(0).values, places.max(0).values
    places = (places - low) / (high - low).clamp(min=1e-9)
    columns = math.ceil(math.sqrt(len(files)))
    points = tuple(
        Point(round(x, 4), round(y, 4), at, one)
        for at, ((x, y), one) in enumerate(zip(places.tolist(), shown, strict=True))
    )
    return Map(points, sheet(files, columns), SIDE, columns)


def embedded(vectors: Tensor) -> Tensor:
    """float [N, D] -> float [N, 2]."""
    inputs = F.normalize(vectors.float(), dim=1)
    inputs = inputs - inputs.mean(0)
    _, _, directions = torch.linalg.svd(inputs, full_matrices=False)
    inputs = inputs @ directions[:_DIRECTIONS].T
    count = len(inputs)
    likely = _likeness(torch.cdist(inputs, inputs).square(), min(_PERPLEXITY, (count - 1) / 3))
    places = inputs[:, :2] / inputs[:, 0].std().clamp(min=1e-9) * 1e-4
    moved, gains = torch.zeros_like(places), torch.ones_like(places)
    rate = max(count / _EXAGGERATION / 4, 10.0)
    for step in range(_STEPS):
        kernel = 1 / (1 + torch.cdist(places, places).square())
        kernel.fill_diagonal_(0)
        pull = likely * (_EXAGGERATION if step < _EARLY else 1.0) - kernel / kernel.sum()
        force = pull * kernel
        slope = 4 * (force.sum(1, keepdim=True) * places - force @ places)
        gains = torch.where(slope.sign() != moved.sign(), gains + 0.2, gains * 0.8).clamp(min=0.01)
        moved = (0.5 if step < _EARLY else 0.8) * moved - rate * gains * slope
        places = places + moved
    return places


def _likeness(squares: Tensor, perplexity: float) -> Tensor:
    """Joint probabilities float [N, N] of squared distances; each picture's own width is found by halving."""
    count = len(squares)
    squares = squares.clone()
    squares.fill_diagonal_(math.inf)
    scale = squares[squares.isfinite()].mean().clamp(min=1e-12)
    low, high = torch.zeros(count, 1), torch.full((count, 1), math.inf)
    precise = torch.ones(count, 1) / scale
    for _ in range(60):
        found = (-squares * precise).softmax(1)
        entropy = -(found * found.clamp(min=1e-30).log()).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, precise, low), torch.where(wide, high, precise)
        precise = torch.where(high.isinf(), precise * 2, (low + high) / 2)
    return ((found + found.T) / (2 * count)).clamp(min=1e-12)


def sheet(files: Sequence[Path], columns: int) -> str:
    """Thumbnails beside each other, row by row: a JPEG, base64. Grey stands for what cannot be read any more."""
    rows = -(-len(files) // columns)
    whole = np.full((rows * SIDE, columns * SIDE, 3), 128, np.uint8)

    def small(file: Path) -> decode.Pixels | None:
        try:
            pixels = decode.read(file, at_least=SIDE)
        except PictureError:
            return None
        edge = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - edge) // 2, (pixels.shape[1] - edge) // 2
        square = pixels[top : top + edge, left : left + edge]
        return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    with ThreadPoolExecutor(min(8, cores()), "sheet") as pool:
        for at, pixels in enumerate(pool.map(small, files)):
            if pixels is not None:
                row, column = divmod(at, columns)
                whole[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = pixels
    stream = io.BytesIO()
    Image.fromarray(whole).save(stream, "JPEG", quality=72)
    return base64.b64encode(stream.getvalue()).decode("ascii")
