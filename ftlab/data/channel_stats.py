"""Mean and standard deviation of the color channels, estimated from a run's own training images.

Each image counts equally, whatever its size: mean and standard deviation are taken over its pixels, and both are
averaged over the images. PyTorch's tutorials do it this way; the standard deviation over all pixels together would be
larger, by the variation between images.
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
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.loading.loader import batch_indices
from ftlab.data.shards import remote_images

MAX_IMAGES = 20_000
"""Images that are measured at most. Their means are within 0.002 of those of a million."""
IMAGES_PER_TASK = 16
"""Images that a thread takes at once."""
_MIN_STD = 1 / 255
"""Smallest standard deviation: images of a single color have 0, and are divided by it."""

ChannelValues = tuple[float, float, float]
"""Red, green, blue."""


@dataclass(frozen=True)
class ChannelStats:
    """Channel statistics of a data set.

    Attributes:
        mean, std: per channel (R, G, B), of pixels in [0, 1], with six decimals.
        count: images that were measured; 0 if none could be read.
    """

    mean: ChannelValues
    std: ChannelValues
    count: int

    def format_values(self) -> dict[str, object]:
        """Return the values for a message: `images`, `mean`, `std`."""
        mean, std = (" ".join(f"{value:.4f}" for value in channels) for channels in (self.mean, self.std))
        return {"images": self.count, "mean": mean, "std": std}


@dataclass(frozen=True)
class StatsProgress:
    """Images measured so far, and in total."""

    done: int
    total: int


def compute_channel_stats(
    catalog: Catalog, num_workers: int, options: DecodeOptions | None = None
) -> Iterator[StatsProgress | ChannelStats]:
    """Yield the progress after every few images, and in the end the statistics.

    At most `MAX_IMAGES` training images are measured, evenly spread over the split. Files that cannot be read are left
    out here; the training reports them.

    Args:
        catalog: images of the data set.
        num_workers: decoding threads.
        options: of decoding; None: the usual ones, with the data set's value ranges.
    """
    items = catalog.splits["train"]
    options = options or DecodeOptions(value_ranges=catalog.value_ranges)
    total = min(len(items), MAX_IMAGES)
    sampled_items = [items[position * len(items) // total] for position in range(total)]

    def measure_images(indices: list[int]) -> list[npt.NDArray[np.float64]]:
        measurements = []
        for index in indices:
            try:
                source = remote_images.load_image_source(catalog.image_path(sampled_items[index]))
                measurements.append(measure_image(decode.read_image(source, options)))
            except ImageError:
                continue
        return measurements

    sums, image_count, done_count = np.zeros((2, 3)), 0, 0
    index_batches = batch_indices(range(total), IMAGES_PER_TASK)
    with ThreadPoolExecutor(num_workers, thread_name_prefix="statistics") as pool:
        try:
            for indices, measurements in zip(index_batches, pool.map(measure_images, index_batches), strict=True):
                for measurement in measurements:  # summed in order: the same bits for any number of threads
                    sums += measurement
                image_count, done_count = image_count + len(measurements), done_count + len(indices)
                yield StatsProgress(done_count, total)
        finally:
            pool.shutdown(cancel_futures=True)
    # Rounded, so that `config.json` shows what is used.
    mean, std = (sums / max(image_count, 1)).round(6)
    yield ChannelStats(_to_channel_values(mean), _to_channel_values(std.clip(_MIN_STD)), image_count)


def measure_image(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return mean and population standard deviation of each channel in [0, 1]: uint8 [H, W, 3] -> float64 [2, 3]."""
    import cv2  # imported here as few runs estimate statistics

    mean, std = cv2.meanStdDev(pixels)
    return np.stack([mean[:, 0], std[:, 0]]).astype(np.float64) / 255.0


def _to_channel_values(values: npt.NDArray[np.float64]) -> ChannelValues:
    """Return an array of three as a tuple of floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
