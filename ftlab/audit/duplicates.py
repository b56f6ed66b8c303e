"""Duplicate images: the same file, the same pixels, or the same image resized or compressed again.

A copy that was resized or compressed again keeps its coarse structure. Two images are near duplicates if three measures
agree: their perceptual hashes (Zauner, 2010, "Implementation and benchmarking of perceptual image hash functions",
section 3.2.1: the signs of the lowest frequencies), their thumbnails, pixel by pixel, and the backbone's features.
The hash alone confuses drawings with much empty background; the features alone, two portraits of one kind.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch.nn.functional as F

from ftlab.audit.embeddings import DatasetMeasurements

MAX_HASH_DISTANCE_BITS = 8
"""Largest Hamming distance of two 64-bit hashes: compression changes 0 to 2 bits; unrelated images differ in 32 on
average, and in 8 or fewer once in 10^10.
"""
MIN_THUMBNAIL_CORRELATION = 0.98
"""Smallest correlation of the thumbnails: what compression leaves in the means of 32 × 32 cells."""
MAX_BRIGHTNESS_LEVELS = 16.0
"""Largest difference of the thumbnails' means, in levels of 255."""
MIN_FEATURE_COSINE = 0.5
"""Smallest cosine similarity of the features. Half-sized copies have 0.68 and more, unrelated images 0.3 on average."""
_BLOCK_IMAGES, _MAX_NEIGHBORS = 512, 50
"""Images compared with all others at a time, and nearest ones by hash that are examined for each."""


def find_exact_duplicates(measurements: DatasetMeasurements, candidates: npt.NDArray[np.intp]) -> list[list[int]]:
    """Return groups of images whose files or pixels are identical.

    Args:
        measurements: of the data set.
        candidates: int [M], indices of the images to compare.

    Returns:
        Groups of two or more indices, each sorted, ordered by their first index.
    """
    sets = _UnionFind()
    first_index: dict[str, int] = {}
    for index in candidates.tolist():
        measurement = measurements.file_measurements[index]
        # One table for both digests: the first image with a digest represents all that share it.
        for digest in (measurement.file_sha256, measurement.pixels_sha256):
            sets.merge_sets(first_index.setdefault(digest, index), index)
    return sets.list_groups()


def find_near_duplicates(measurements: DatasetMeasurements, candidates: npt.NDArray[np.intp]) -> list[list[int]]:
    """Return groups of near duplicates; each group is connected by a chain of similar pairs.

    Args:
        measurements: of the data set.
        candidates: int [M], indices of the images to compare; of exact duplicates only one.

    Returns:
        Groups of two or more indices, each sorted, ordered by their first index.
    """
    sets = _UnionFind()
    hashes = compute_hashes(measurements.thumbnails[candidates])
    embeddings = F.normalize(measurements.embeddings[candidates].float(), dim=1)
    thumbnails = measurements.thumbnails[candidates]
    for start in range(0, len(candidates), _BLOCK_IMAGES):
        # In blocks: all pairs of 20,000 images would take 3 GB.
        distances = np.bitwise_count(hashes[start : start + _BLOCK_IMAGES, None] ^ hashes[None])
        for offset, row_distances in enumerate(distances):
            index = start + offset
            neighbors = np.nonzero(row_distances <= MAX_HASH_DISTANCE_BITS)[0]
            neighbors = neighbors[neighbors > index]  # each pair once
            for neighbor in neighbors[np.argsort(row_distances[neighbors], kind="stable")][:_MAX_NEIGHBORS].tolist():
                # The embeddings are normalized, so their product is the cosine similarity.
                if float(embeddings[index] @ embeddings[neighbor]) >= MIN_FEATURE_COSINE and is_same_image(
                    thumbnails[index], thumbnails[neighbor]
                ):
                    sets.merge_sets(int(candidates[index]), int(candidates[neighbor]))
    return sets.list_groups()


def compute_hashes(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return perceptual hashes, uint64 [N], of thumbnails, uint8 [N, 32, 32, 3] RGB."""
    hashes = np.zeros(len(thumbnails), np.uint64)
    bit_weights = np.uint64(1) << np.arange(64, dtype=np.uint64)
    for index, thumbnail in enumerate(thumbnails):
        gray = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)
        low_frequencies = cv2.dct(gray)[:8, :8].ravel()
        # The first coefficient is the mean brightness, far above the others: it would shift the median.
        hashes[index] = bit_weights[low_frequencies > np.median(low_frequencies[1:])].sum(dtype=np.uint64)
    return hashes


def is_same_image(image_a: npt.NDArray[np.uint8], image_b: npt.NDArray[np.uint8]) -> bool:
    """Return whether two thumbnails, uint8 [32, 32, 3] RGB, show the same image up to compression."""
    a, b = image_a.astype(np.float64).ravel(), image_b.astype(np.float64).ravel()
    if abs(a.mean() - b.mean()) > MAX_BRIGHTNESS_LEVELS:
        return False
    a, b = a - a.mean(), b - b.mean()
    # Multiplied out, so that an image of one tone does not divide by zero.
    return bool(a @ b >= MIN_THUMBNAIL_CORRELATION * np.sqrt((a @ a) * (b @ b)))


class _UnionFind:
    """Disjoint sets of integers, merged pair by pair (Tarjan, 1975)."""

    def __init__(self) -> None:
        """Start without elements; each element is its own set when it is first merged."""
        self._parents: dict[int, int] = {}

    def merge_sets(self, index_a: int, index_b: int) -> None:
        """Merge the sets of two elements; the smallest element becomes the root."""
        low_root, high_root = sorted((self._find_root(index_a), self._find_root(index_b)))
        self._parents[high_root] = low_root

    def _find_root(self, index: int) -> int:
        """Return the root of an element's set, and shorten the path to it."""
        while self._parents.setdefault(index, index) != index:
            # Path halving: without recursion, and nearly constant time per call.
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def list_groups(self) -> list[list[int]]:
        """Return the sets with two or more elements, each sorted."""
        groups_by_root: dict[int, list[int]] = {}
        for index in sorted(self._parents):
            groups_by_root.setdefault(self._find_root(index), []).append(index)
        return [group for group in groups_by_root.values() if len(group) > 1]
