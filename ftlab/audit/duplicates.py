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

from ftlab.audit.embeddings import Measured

BITS = 8
"""Of the 64 of a hash, so many may differ: compression changes 0 to 2; unrelated pictures differ in 32 on average,
and in 8 or fewer once in 10^10."""
ALIKE = 0.98
"""Correlation of the small pictures, at least: what compression leaves in the means of 32 × 32 places."""
BRIGHTER = 16.0
"""Levels, of 255, by which the means of the small pictures may differ."""
SEEN = 0.5
"""Cosine of the features, at least. Half-sized copies have 0.68 and more, unrelated pictures 0.3 on average."""
_BLOCK, _MOST = 512, 50
"""Pictures compared with all others at a time, and nearest ones that are looked at for each."""


def exact(measured: Measured, among: npt.NDArray[np.intp]) -> list[list[int]]:
    """Groups of pictures that are equal by file or by pixels, in order, of those in `among`."""
    union = _Union()
    first: dict[str, int] = {}
    for index in among.tolist():
        for key in (measured.facts[index].content, measured.facts[index].pixels):
            union.join(first.setdefault(key, index), index)
    return union.groups()


def near(measured: Measured, among: npt.NDArray[np.intp]) -> list[list[int]]:
    """Groups of pictures that are near copies, each by a chain of pairs, of those in `among`: each of them one of its
    own, without the exact copies."""
    union = _Union()
    hashes = codes(measured.small[among])
    vectors = F.normalize(measured.vectors[among].float(), dim=1)
    small = measured.small[among]
    for start in range(0, len(among), _BLOCK):
        distance = np.bitwise_count(hashes[start : start + _BLOCK, None] ^ hashes[None])
        for row, line in enumerate(distance):
            one = start + row
            others = np.nonzero(line <= BITS)[0]
            others = others[others > one]
            for other in others[np.argsort(line[others], kind="stable")][:_MOST].tolist():
                if float(vectors[one] @ vectors[other]) >= SEEN and same(small[one], small[other]):
                    union.join(int(among[one]), int(among[other]))
    return union.groups()


def codes(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The perceptual hashes uint64 [N] of small pictures uint8 [N, 32, 32, 3]."""
    found = np.zeros(len(small), np.uint64)
    weights = np.uint64(1) << np.arange(64, dtype=np.uint64)
    for index, picture in enumerate(small):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        low = cv2.dct(grey)[:8, :8].ravel()
        found[index] = weights[low > np.median(low[1:])].sum(dtype=np.uint64)
    return found


def same(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Whether two small pictures, uint8 [32, 32, 3], are one up to compression."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    if abs(a.mean() - b.mean()) > BRIGHTER:
        return False
    a, b = a - a.mean(), b - b.mean()
    return bool(a @ b >= ALIKE * np.sqrt((a @ a) * (b @ b)))


class _Union:
    """Sets that are joined pair by pair (Tarjan, 1975)."""

    def __init__(self) -> None:
        self._up: dict[int, int] = {}

    def join(self, one: int, other: int) -> None:
        """The two, and all that either was joined with, are one set; the least stands for it."""
        low, high = sorted((self._top(one), self._top(other)))
        self._up[high] = low

    def _top(self, one: int) -> int:
        while self._up.setdefault(one, one) != one:
            self._up[one] = self._up[self._up[one]]
            one = self._up[one]
        return one

    def groups(self) -> list[list[int]]:
        """Sets of two and more."""
        found: dict[int, list[int]] = {}
        for one in sorted(self._up):
            found.setdefault(self._top(one), []).append(one)
        return [group for group in found.values() if len(group) > 1]
