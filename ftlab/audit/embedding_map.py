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

from ftlab.audit.findings import EmbeddingMap, ImageRef, MapPoint
from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.images import decode

MAX_MAP_IMAGES = 800
"""Pictures on a map."""
MIN_MAP_IMAGES = 8
SHEET_CELL_PIXELS = 64
"""Pixels of a thumbnail."""
_PCA_COMPONENTS = 50
_PERPLEXITY = 30.0
_TSNE_STEPS, _EXAGGERATION_STEPS, _EXAGGERATION_FACTOR = 400, 120, 12.0


def build_embedding_map(
    image_paths: Sequence[Path], image_refs: Sequence[ImageRef], embeddings: Tensor
) -> EmbeddingMap | None:
    """The map of N pictures, None of fewer than eight.

    Args:
        image_paths: of each picture.
        image_refs: what is said of it.
        embeddings: float [N, D].
    """
    if len(image_paths) < MIN_MAP_IMAGES:
        return None
    positions = run_tsne(embeddings)
    low, high = positions.min(0).values, positions.max(0).values
    positions = (positions - low) / (high - low).clamp(min=1e-9)
    columns = math.ceil(math.sqrt(len(image_paths)))
    points = tuple(
        MapPoint(round(x, 4), round(y, 4), index, image_ref)
        for index, ((x, y), image_ref) in enumerate(zip(positions.tolist(), image_refs, strict=True))
    )
    return EmbeddingMap(points, render_thumbnail_sheet(image_paths, columns), SHEET_CELL_PIXELS, columns)


def run_tsne(embeddings: Tensor) -> Tensor:
    """float [N, D] -> float [N, 2]."""
    inputs = F.normalize(embeddings.float(), dim=1)
    inputs = inputs - inputs.mean(0)
    _, _, components = torch.linalg.svd(inputs, full_matrices=False)
    inputs = inputs @ components[:_PCA_COMPONENTS].T
    count = len(inputs)
    affinities = _compute_affinities(torch.cdist(inputs, inputs).square(), min(_PERPLEXITY, (count - 1) / 3))
    positions = inputs[:, :2] / inputs[:, 0].std().clamp(min=1e-9) * 1e-4
    velocity, gains = torch.zeros_like(positions), torch.ones_like(positions)
    learning_rate = max(count / _EXAGGERATION_FACTOR / 4, 10.0)
    for step in range(_TSNE_STEPS):
        kernel = 1 / (1 + torch.cdist(positions, positions).square())
        kernel.fill_diagonal_(0)
        attraction = affinities * (_EXAGGERATION_FACTOR if step < _EXAGGERATION_STEPS else 1.0) - kernel / kernel.sum()
        force = attraction * kernel
        gradient = 4 * (force.sum(1, keepdim=True) * positions - force @ positions)
        gains = torch.where(gradient.sign() != velocity.sign(), gains + 0.2, gains * 0.8).clamp(min=0.01)
        velocity = (0.5 if step < _EXAGGERATION_STEPS else 0.8) * velocity - learning_rate * gains * gradient
        positions = positions + velocity
    return positions


def _compute_affinities(squared_distances: Tensor, perplexity: float) -> Tensor:
    """Joint probabilities float [N, N] of squared distances; each picture's own width is found by halving."""
    count = len(squared_distances)
    squared_distances = squared_distances.clone()
    squared_distances.fill_diagonal_(math.inf)
    mean_distance = squared_distances[squared_distances.isfinite()].mean().clamp(min=1e-12)
    low, high = torch.zeros(count, 1), torch.full((count, 1), math.inf)
    precision = torch.ones(count, 1) / mean_distance
    for _ in range(60):
        conditional = (-squared_distances * precision).softmax(1)
        entropy = -(conditional * conditional.clamp(min=1e-30).log()).sum(1, keepdim=True)
        is_too_wide = entropy > math.log(perplexity)
        low, high = torch.where(is_too_wide, precision, low), torch.where(is_too_wide, high, precision)
        precision = torch.where(high.isinf(), precision * 2, (low + high) / 2)
    return ((conditional + conditional.T) / (2 * count)).clamp(min=1e-12)


def render_thumbnail_sheet(image_paths: Sequence[Path], columns: int) -> str:
    """Thumbnails beside each other, row by row: a JPEG, base64. Grey stands for what cannot be read any more."""
    rows = -(-len(image_paths) // columns)
    canvas = np.full((rows * SHEET_CELL_PIXELS, columns * SHEET_CELL_PIXELS, 3), 128, np.uint8)

    def load_thumbnail(image_path: Path) -> decode.ImageArray | None:
        try:
            pixels = decode.read_image(image_path, min_side=SHEET_CELL_PIXELS)
        except ImageError:
            return None
        side = min(pixels.shape[:2])
        y_min, x_min = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = pixels[y_min : y_min + side, x_min : x_min + side]
        return cv2.resize(square, (SHEET_CELL_PIXELS, SHEET_CELL_PIXELS), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    with ThreadPoolExecutor(min(8, count_cpu_cores()), "sheet") as pool:
        for index, pixels in enumerate(pool.map(load_thumbnail, image_paths)):
            if pixels is not None:
                row, column = divmod(index, columns)
                canvas[
                    row * SHEET_CELL_PIXELS : (row + 1) * SHEET_CELL_PIXELS,
                    column * SHEET_CELL_PIXELS : (column + 1) * SHEET_CELL_PIXELS,
                ] = pixels
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "JPEG", quality=72)
    return base64.b64encode(stream.getvalue()).decode("ascii")
