"""Image quality: images that are blank, tiny, blurred or of an odd shape.

Each absolute limit, which says what the network loses, is combined with one relative to the other images of the data
set: in a data set whose images are all small, or blurred by nature, that is no fault of single images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftlab.audit.embeddings import DatasetMeasurements
from ftlab.data.transforms.preprocess import Preprocessing

BLANK_MAX_STD_LEVELS = 4.0
"""Standard deviation of the 32 × 32 cell means, in levels of 255, below which an image is blank if that holds for every
color channel. The eye distinguishes differences of 1 to 2 % of the range; a camera's noise vanishes in the means.
"""
TINY_UPSCALE_FACTOR = 4
"""Factor of enlargement for the network, by the short side, above which most of its input is interpolated."""
ODD_ASPECT_RATIO = 2.0
"""Long side over short side, above which the central square contains less than half of an image."""
BLUR_LIMIT_RANGE = (0.6, 0.75)
"""Values of `embeddings.measure_blur` below which no image counts as blurred, and above which each does; photographs
have 0.2 to 0.5.
"""


def find_blank(measurements: DatasetMeasurements) -> npt.NDArray[np.bool_]:
    """Return which images are blank: bool [N]."""
    count = len(measurements.file_measurements)
    flat_pixels = measurements.thumbnails.reshape(count, -1, 3).astype(np.float32)
    return np.asarray(flat_pixels.std(axis=1).max(axis=1) < BLANK_MAX_STD_LEVELS if count else np.zeros(0, np.bool_))


def get_image_sizes(measurements: DatasetMeasurements) -> npt.NDArray[np.int64]:
    """Return width and height in pixels: int64 [N, 2]."""
    return np.array(
        [(measurement.width, measurement.height) for measurement in measurements.file_measurements], np.int64
    ).reshape(-1, 2)


def find_tiny(measurements: DatasetMeasurements, prep: Preprocessing) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return which images are tiny, and whether the data set as a whole is.

    Args:
        measurements: of N images.
        prep: preprocessing of the backbone, with the size of its input.

    Returns:
        bool [N], and whether the median short side is below the limit.
    """
    short_sides = get_image_sizes(measurements).min(axis=1, initial=1 << 30)  # `initial` allows N = 0
    median_side = float(np.median(short_sides)) if len(short_sides) else 0.0
    below_limit = short_sides < prep.side / TINY_UPSCALE_FACTOR
    return below_limit & (short_sides < median_side / 2), bool(
        len(short_sides)
    ) and median_side < prep.side / TINY_UPSCALE_FACTOR


def find_odd_shaped(measurements: DatasetMeasurements) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return which images have an odd shape, bool [N], and whether the median image of the data set has."""
    image_sizes = get_image_sizes(measurements).astype(np.float64)
    if not len(image_sizes):
        return np.zeros(0, np.bool_), False
    aspect_ratios = image_sizes.max(axis=1) / image_sizes.min(axis=1)
    median_ratio = float(np.median(aspect_ratios))
    return (aspect_ratios > ODD_ASPECT_RATIO) & (aspect_ratios > 1.5 * median_ratio), median_ratio > ODD_ASPECT_RATIO


def find_blurred(measurements: DatasetMeasurements, candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which images are blurred in comparison with the others.

    Args:
        measurements: of N images.
        candidates: bool [N], the images to consider.

    Returns:
        bool [N].
    """
    blur_values = np.array([measurement.blur for measurement in measurements.file_measurements])
    if not candidates.any():
        return np.zeros(len(blur_values), np.bool_)
    limit = float(np.clip(compute_outer_fence(blur_values[candidates]), *BLUR_LIMIT_RANGE))
    return np.asarray((blur_values > limit) & candidates)


def compute_outer_fence(values: npt.NDArray[np.float64]) -> float:
    """Return the value above which a value is "far out": the upper quartile plus three times the interquartile range.

    By Tukey (1977, Exploratory Data Analysis, section 2D). Of a normal distribution, one value in 400,000 is above it.
    """
    low, high = np.percentile(values, [25, 75])
    return float(high + 3 * (high - low))
