"""Mean and standard deviation of the colours of a training's own pictures.

Each picture counts alike, whatever its size: its channels' mean and standard deviation are taken over its pixels,
and of both the mean over the pictures. (So PyTorch's tutorials do it; the deviation of all pixels together would be
larger, by what pictures differ from each other.)
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftlab.core.errors import PictureError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import decode
from ftlab.data.loading.loader import plan

MOST = 20_000
"""Pictures that are looked at. The means of so many are within 0.002 of those of a million."""
_PIECE = 16
"""Pictures a thread takes at once."""
_LEAST = 1 / 255
"""Least deviation: pictures of one colour each have none, and are divided by it."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Statistics:
    """What was found.

    Attributes:
        mean, std: per channel (R, G, B), of pixels in [0, 1]; six decimals.
        count: pictures that they were taken from; 0 when none could be read.
    """

    mean: Triple
    std: Triple
    count: int

    def spoken(self) -> dict[str, object]:
        """Its figures for a sentence: `images`, `mean`, `std`."""
        mean, std = (" ".join(f"{value:.4f}" for value in three) for three in (self.mean, self.std))
        return {"images": self.count, "mean": mean, "std": std}


@dataclass(frozen=True)
class Done:
    """Pictures looked at so far, and in all."""

    done: int
    total: int


def compute(pictures: Catalog, workers: int) -> Iterator[Done | Statistics]:
    """Look at the training pictures, at most `MOST` of them, evenly taken: how far it is, at last what was found.

    Files that cannot be read are left out; the training names them.
    """
    items = pictures.splits["train"]
    total = min(len(items), MOST)
    chosen = [items[number * len(items) // total] for number in range(total)]

    def look(piece: list[int]) -> list[npt.NDArray[np.float64]]:
        found = []
        for number in piece:
            try:
                found.append(of_picture(decode.read(pictures.path(chosen[number]))))
            except PictureError:
                continue
        return found

    sums, count, done = np.zeros((2, 3)), 0, 0
    pieces = plan(range(total), _PIECE)
    with ThreadPoolExecutor(workers, thread_name_prefix="statistics") as pool:
        try:
            for piece, found in zip(pieces, pool.map(look, pieces), strict=True):
                for one in found:  # one after the other: the same sum whatever the threads do
                    sums += one
                count, done = count + len(found), done + len(piece)
                yield Done(done, total)
        finally:
            pool.shutdown(cancel_futures=True)
    mean, std = (sums / max(count, 1)).round(6)
    yield Statistics(_triple(mean), _triple(std.clip(_LEAST)), count)


def of_picture(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """uint8 [H, W, 3] -> float64 [2, 3]: mean and (population) standard deviation of each channel, in [0, 1]."""
    import cv2  # where it is needed only: few trainings ask for statistics

    mean, std = cv2.meanStdDev(pixels)
    return np.stack([mean[:, 0], std[:, 0]]).astype(np.float64) / 255.0


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
