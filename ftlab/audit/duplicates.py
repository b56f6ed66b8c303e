"""Pictures that are there twice: the same file, the same pixels, or the same picture saved anew.

A copy that was scaled or compressed again keeps its coarse structure. Two pictures are near copies when all of three
agree: their perceptual hashes (Zauner, 2010, "Implementation and benchmarking of perceptual image hash functions",
section 3.2.1: the signs of the lowest frequencies), their small versions, pixel by pixel, and what the backbone sees.
The hash alone takes drawings with much empty ground for each other; the features alone, two portraits of one kind.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch.nn.functional as F

from ftlab.audit.embeddings import DatasetMeasurements

MAX_HASH_DISTANCE_BITS = 8
"""Of the 64 of a hash, so many may differ: compression changes 0 to 2; unrelated pictures differ in 32 on average,
and in 8 or fewer once in 10^10."""
MIN_THUMBNAIL_CORRELATION = 0.98
"""Correlation of the small pictures, at least: what compression leaves in the means of 32 × 32 places."""
MAX_BRIGHTNESS_LEVELS = 16.0
"""Levels, of 255, by which the means of the small pictures may differ."""
MIN_FEATURE_COSINE = 0.5
"""Cosine of the features, at least. Half-sized copies have 0.68 and more, unrelated pictures 0.3 on average."""
_BLOCK_IMAGES, _MAX_NEIGHBORS = 512, 50
"""Pictures compared with all others at a time, and nearest ones that are looked at for each."""


def find_exact_duplicates(measurements: DatasetMeasurements, candidates: npt.NDArray[np.intp]) -> list[list[int]]:
    """Groups of pictures that are equal by file or by pixels, in order, of those in `candidates`."""
    sets = _UnionFind()
    first_index: dict[str, int] = {}
    for index in candidates.tolist():
        for digest in (measurements.file_measurements[index].content, measurements.file_measurements[index].pixels):
            sets.merge_sets(first_index.setdefault(digest, index), index)
    return sets.list_groups()


def find_near_duplicates(measurements: DatasetMeasurements, candidates: npt.NDArray[np.intp]) -> list[list[int]]:
    """Groups of pictures that are near copies, each by a chain of pairs, of those in `candidates`: each of them one of its
    own, without the exact copies."""
    sets = _UnionFind()
    hashes = compute_hashes(measurements.thumbnails[candidates])
    embeddings = F.normalize(measurements.embeddings[candidates].float(), dim=1)
    thumbnails = measurements.thumbnails[candidates]
    for start in range(0, len(candidates), _BLOCK_IMAGES):
        distances = np.bitwise_count(hashes[start : start + _BLOCK_IMAGES, None] ^ hashes[None])
        for offset, row_distances in enumerate(distances):
            index = start + offset
            neighbors = np.nonzero(row_distances <= MAX_HASH_DISTANCE_BITS)[0]
            neighbors = neighbors[neighbors > index]
            for neighbor in neighbors[np.argsort(row_distances[neighbors], kind="stable")][:_MAX_NEIGHBORS].tolist():
                if float(embeddings[index] @ embeddings[neighbor]) >= MIN_FEATURE_COSINE and is_same_image(
                    thumbnails[index], thumbnails[neighbor]
                ):
                    sets.merge_sets(int(candidates[index]), int(candidates[neighbor]))
    return sets.list_groups()


def compute_hashes(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The perceptual hashes uint64 [N] of small pictures uint8 [N, 32, 32, 3]."""
    hashes = np.zeros(len(thumbnails), np.uint64)
    bit_weights = np.uint64(1) << np.arange(64, dtype=np.uint64)
    for index, thumbnail in enumerate(thumbnails):
        gray = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)
        low_frequencies = cv2.dct(gray)[:8, :8].ravel()
        hashes[index] = bit_weights[low_frequencies > np.median(low_frequencies[1:])].sum(dtype=np.uint64)
    return hashes


def is_same_image(image_a: npt.NDArray[np.uint8], image_b: npt.NDArray[np.uint8]) -> bool:
    """Whether two small pictures, uint8 [32, 32, 3], are one up to compression."""
    a, b = image_a.astype(np.float64).ravel(), image_b.astype(np.float64).ravel()
    if abs(a.mean() - b.mean()) > MAX_BRIGHTNESS_LEVELS:
        return False
    a, b = a - a.mean(), b - b.mean()
    return bool(a @ b >= MIN_THUMBNAIL_CORRELATION * np.sqrt((a @ a) * (b @ b)))


class _UnionFind:
    """Sets that are joined pair by pair (Tarjan, 1975)."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def merge_sets(self, index_a: int, index_b: int) -> None:
        """The two, and all that either was joined with, are one set; the least stands for it."""
        low_root, high_root = sorted((self._find_root(index_a), self._find_root(index_b)))
        self._parents[high_root] = low_root

    def _find_root(self, index: int) -> int:
        while self._parents.setdefault(index, index) != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def list_groups(self) -> list[list[int]]:
        """Sets of two and more."""
        groups_by_root: dict[int, list[int]] = {}
        for index in sorted(self._parents):
            groups_by_root.setdefault(self._find_root(index), []).append(index)
        return [group for group in groups_by_root.values() if len(group) > 1]
