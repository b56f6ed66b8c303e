"""Pictures from which little is to be learnt: blank, tiny, blurred, of an odd shape.

A limit that says what the network loses stands beside one that says how far from the other pictures of the set it is:
a set in which all are small, or blurred by nature, is no list of faults.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftlab.audit.embeddings import DatasetMeasurements
from ftlab.data.transforms.preprocess import Preprocessing

BLANK_MAX_STD_LEVELS = 4.0
"""Levels, of 255: a picture whose 32 × 32 means deviate less than that, in each colour, shows nothing. The eye tells
differences of 1 to 2 % of the range apart; a camera's grain is gone in the means."""
TINY_UPSCALE_FACTOR = 4
"""Times a tiny picture's short side must be enlarged for the network: what it sees is made up by then."""
ODD_ASPECT_RATIO = 2.0
"""Long side over short side, above which the middle square shows less than half of a picture."""
BLUR_LIMIT_RANGE = (0.6, 0.75)
"""Blur below which no picture is called blurred, and above which each is, see `measuring.blur`: photographs lie at 0.2
to 0.5."""


def find_blank(measurements: DatasetMeasurements) -> npt.NDArray[np.bool_]:
    """Which of the pictures show nothing: bool [N]."""
    count = len(measurements.file_measurements)
    flat_pixels = measurements.thumbnails.reshape(count, -1, 3).astype(np.float32)
    return np.asarray(flat_pixels.std(axis=1).max(axis=1) < BLANK_MAX_STD_LEVELS if count else np.zeros(0, np.bool_))


def get_image_sizes(measurements: DatasetMeasurements) -> npt.NDArray[np.int64]:
    """Width and height in pixels: int64 [N, 2]."""
    return np.array(
        [(measurement.width, measurement.height) for measurement in measurements.file_measurements], np.int64
    ).reshape(-1, 2)


def find_tiny(measurements: DatasetMeasurements, prep: Preprocessing) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which of the pictures are tiny, bool [N], and whether the set as a whole is."""
    short_sides = get_image_sizes(measurements).min(axis=1, initial=1 << 30)
    median_side = float(np.median(short_sides)) if len(short_sides) else 0.0
    below_limit = short_sides < prep.side / TINY_UPSCALE_FACTOR
    return below_limit & (short_sides < median_side / 2), bool(
        len(short_sides)
    ) and median_side < prep.side / TINY_UPSCALE_FACTOR


def find_odd_shaped(measurements: DatasetMeasurements) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which of the pictures have an odd shape, bool [N], and whether the set as a whole has."""
    image_sizes = get_image_sizes(measurements).astype(np.float64)
    if not len(image_sizes):
        return np.zeros(0, np.bool_), False
    aspect_ratios = image_sizes.max(axis=1) / image_sizes.min(axis=1)
    median_ratio = float(np.median(aspect_ratios))
    return (aspect_ratios > ODD_ASPECT_RATIO) & (aspect_ratios > 1.5 * median_ratio), median_ratio > ODD_ASPECT_RATIO


def find_blurred(measurements: DatasetMeasurements, candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of the pictures in `candidates`, bool [N], are blurred more than the set is."""
    blur_values = np.array([measurement.blur for measurement in measurements.file_measurements])
    if not candidates.any():
        return np.zeros(len(blur_values), np.bool_)
    limit = float(np.clip(compute_outer_fence(blur_values[candidates]), *BLUR_LIMIT_RANGE))
    return np.asarray((blur_values > limit) & candidates)


def compute_outer_fence(values: npt.NDArray[np.float64]) -> float:
    """The value above which one is "far out": three times the distance of the quartiles above the upper one (Tukey,
    1977, Exploratory Data Analysis, section 2D). Of a normal distribution one in 400,000 is."""
    low, high = np.percentile(values, [25, 75])
    return float(high + 3 * (high - low))
