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

from ftlab.core.errors import ImageError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import decode
from ftlab.data.loading.loader import batch_indices

MAX_IMAGES = 20_000
"""Pictures that are looked at. The means of so many are within 0.002 of those of a million."""
IMAGES_PER_TASK = 16
"""Pictures a thread takes at once."""
_MIN_STD = 1 / 255
"""Least deviation: pictures of one colour each have none, and are divided by it."""

ChannelValues = tuple[float, float, float]


@dataclass(frozen=True)
class ChannelStats:
    """What was found.

    Attributes:
        mean, std: per channel (R, G, B), of pixels in [0, 1]; six decimals.
        count: pictures that they were taken from; 0 when none could be read.
    """

    mean: ChannelValues
    std: ChannelValues
    count: int

    def format_values(self) -> dict[str, object]:
        """Its figures for a sentence: `images`, `mean`, `std`."""
        mean, std = (" ".join(f"{value:.4f}" for value in channels) for channels in (self.mean, self.std))
        return {"images": self.count, "mean": mean, "std": std}


@dataclass(frozen=True)
class StatsProgress:
    """Pictures looked at so far, and in all."""

    done: int
    total: int


def compute_channel_stats(catalog: Catalog, num_workers: int) -> Iterator[StatsProgress | ChannelStats]:
    """Look at the training pictures, at most `MAX_IMAGES` of them, evenly taken: how far it is, at last what was found.

    Files that cannot be read are left out; the training names them.
    """
    items = catalog.splits["train"]
    total = min(len(items), MAX_IMAGES)
    sampled_items = [items[position * len(items) // total] for position in range(total)]

    def measure_images(indices: list[int]) -> list[npt.NDArray[np.float64]]:
        measurements = []
        for index in indices:
            try:
                measurements.append(measure_image(decode.read_image(catalog.image_path(sampled_items[index]))))
            except ImageError:
                continue
        return measurements

    sums, image_count, done_count = np.zeros((2, 3)), 0, 0
    index_batches = batch_indices(range(total), IMAGES_PER_TASK)
    with ThreadPoolExecutor(num_workers, thread_name_prefix="statistics") as pool:
        try:
            for indices, measurements in zip(index_batches, pool.map(measure_images, index_batches), strict=True):
                for measurement in measurements:  # one after the other: the same sum whatever the threads do
                    sums += measurement
                image_count, done_count = image_count + len(measurements), done_count + len(indices)
                yield StatsProgress(done_count, total)
        finally:
            pool.shutdown(cancel_futures=True)
    mean, std = (sums / max(image_count, 1)).round(6)
    yield ChannelStats(_to_channel_values(mean), _to_channel_values(std.clip(_MIN_STD)), image_count)


def measure_image(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """uint8 [H, W, 3] -> float64 [2, 3]: mean and (population) standard deviation of each channel, in [0, 1]."""
    import cv2  # where it is needed only: few trainings ask for statistics

    mean, std = cv2.meanStdDev(pixels)
    return np.stack([mean[:, 0], std[:, 0]]).astype(np.float64) / 255.0


def _to_channel_values(values: npt.NDArray[np.float64]) -> ChannelValues:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
