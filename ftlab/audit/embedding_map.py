"""Map of a data set in two dimensions: images that are similar to the backbone are close to each other.

t-SNE (van der Maaten and Hinton, 2008, JMLR 9, pages 2579-2605) on the first 50 principal components, initialized with
the first two, so that the global structure is meaningful too, and the same images always give the same map (Kobak and
Berens, 2019, Nature Communications 10, 5416). Computed exactly, with matrices of at most a thousand images.
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
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import DecodeOptions, ValueRanges
from ftlab.data.isolation import isolated

MAX_MAP_IMAGES = 800
"""Largest number of evenly sampled images on a map."""
MIN_MAP_IMAGES = 8
SHEET_CELL_PIXELS = 64
"""Side of a thumbnail in pixels."""
_PCA_COMPONENTS = 50
_PERPLEXITY = 30.0
_TSNE_STEPS, _EXAGGERATION_STEPS, _EXAGGERATION_FACTOR = 400, 120, 12.0


def build_embedding_map(
    image_paths: Sequence[Path],
    image_refs: Sequence[ImageRef],
    embeddings: Tensor,
    value_ranges: ValueRanges = ValueRanges(),
) -> EmbeddingMap | None:
    """Return the map of N images with its thumbnails; None for fewer than `MIN_MAP_IMAGES`.

    Args:
        image_paths: file of each image.
        image_refs: reference to each image, for the page.
        embeddings: float [N, D], the backbone's features.
        value_ranges: of deep images.

    Returns:
        The map with positions in [0, 1], or None.
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
    return EmbeddingMap(points, render_thumbnail_sheet(image_paths, columns, value_ranges), SHEET_CELL_PIXELS, columns)


def run_tsne(embeddings: Tensor) -> Tensor:
    """Return two-dimensional t-SNE positions, float32 [N, 2], of embeddings, float [N, D].

    Gradient descent with momentum, per-coordinate gains and early exaggeration, as in the authors' implementation. The
    learning rate is scikit-learn's `auto`, N / exaggeration / 4, but at least 10 instead of 50.
    """
    # On unit vectors the Euclidean distance is a function of the cosine similarity.
    inputs = F.normalize(embeddings.float(), dim=1)
    inputs = inputs - inputs.mean(0)
    _, _, components = torch.linalg.svd(inputs, full_matrices=False)
    inputs = inputs @ components[:_PCA_COMPONENTS].T
    count = len(inputs)
    affinities = _compute_affinities(torch.cdist(inputs, inputs).square(), min(_PERPLEXITY, (count - 1) / 3))
    # A standard deviation of 1e-4: close enough for the gradients not to vanish at the start (Kobak and Berens).
    positions: Tensor = inputs[:, :2] / inputs[:, 0].std().clamp(min=1e-9) * 1e-4
    velocity, gains = torch.zeros_like(positions), torch.ones_like(positions)
    learning_rate = max(count / _EXAGGERATION_FACTOR / 4, 10.0)
    for step in range(_TSNE_STEPS):
        kernel = 1 / (1 + torch.cdist(positions, positions).square())
        kernel.fill_diagonal_(0)  # an image is not a neighbor of itself
        attraction = affinities * (_EXAGGERATION_FACTOR if step < _EXAGGERATION_STEPS else 1.0) - kernel / kernel.sum()
        force = attraction * kernel
        # The sum over j of 4 force_ij (y_i - y_j), without a tensor [N, N, 2].
        gradient = 4 * (force.sum(1, keepdim=True) * positions - force @ positions)
        gains = torch.where(gradient.sign() != velocity.sign(), gains + 0.2, gains * 0.8).clamp(min=0.01)
        velocity = (0.5 if step < _EXAGGERATION_STEPS else 0.8) * velocity - learning_rate * gains * gradient
        positions = positions + velocity
    return positions


def _compute_affinities(squared_distances: Tensor, perplexity: float) -> Tensor:
    """Return the joint probabilities, float32 [N, N], of t-SNE; bisection finds the bandwidth of each image.

    Args:
        squared_distances: float32 [N, N].
        perplexity: effective number of neighbors.
    """
    count = len(squared_distances)
    squared_distances = squared_distances.clone()
    squared_distances.fill_diagonal_(math.inf)  # probability 0 for an image itself
    mean_distance = squared_distances[squared_distances.isfinite()].mean().clamp(min=1e-12)
    low, high = torch.zeros(count, 1), torch.full((count, 1), math.inf)
    precision = torch.ones(count, 1) / mean_distance
    for _ in range(60):  # beyond the precision of float32
        conditional = (-squared_distances * precision).softmax(1)
        entropy = -(conditional * conditional.clamp(min=1e-30).log()).sum(1, keepdim=True)
        is_too_wide = entropy > math.log(perplexity)
        low, high = torch.where(is_too_wide, precision, low), torch.where(is_too_wide, high, precision)
        # Double until there is an upper bound, then bisect.
        precision = torch.where(high.isinf(), precision * 2, (low + high) / 2)
    return ((conditional + conditional.T) / (2 * count)).clamp(min=1e-12)


def render_thumbnail_sheet(image_paths: Sequence[Path], columns: int, value_ranges: ValueRanges = ValueRanges()) -> str:
    """Return a base64-encoded JPEG of all thumbnails, row by row; gray cells stand for images that cannot be read.

    Args:
        image_paths: files of the images.
        columns: number of thumbnails per row.
        value_ranges: of deep images.

    Returns:
        The JPEG in base64, ASCII.
    """
    rows = -(-len(image_paths) // columns)
    canvas = np.full((rows * SHEET_CELL_PIXELS, columns * SHEET_CELL_PIXELS, 3), 128, np.uint8)

    options = DecodeOptions(SHEET_CELL_PIXELS, value_ranges=value_ranges)

    def load_thumbnail(image_path: Path) -> ImageArray | None:
        """Return the central square as uint8 [64, 64, 3] RGB; None if the file cannot be read any more."""
        try:
            # A large JPEG is decoded at a fraction of its size.
            pixels = isolated.read_image(image_path, options)
        except ImageError:
            return None
        side = min(pixels.shape[:2])
        y_min, x_min = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = pixels[y_min : y_min + side, x_min : x_min + side]
        return cv2.resize(square, (SHEET_CELL_PIXELS, SHEET_CELL_PIXELS), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    # Pillow and OpenCV release the GIL while they decode and resize.
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
