"""Estimation of the range of values that deep images of a data set use, and its scaling to 8 bits. No torch.

A camera of 12 bits stores 0 to 4095 in a file of 16 bits, which would fill 16 of 255 levels. 16-bit samples, and
integers of 32 bits that fit, get the smallest usual number of bits that holds all their values. Other samples get a
usual scale that they fill (0 to 1, 0 to 255 …), else the range from nearly the smallest to nearly the largest value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ftlab.data.images.declared_range import DeclaredRange
from ftlab.data.images.decode_options import SAMPLE_KINDS, SampleKind, ValueRange, ValueRanges
from ftlab.data.images.deep_samples import DeepSamples

BAND_PIXELS = 4_000_000
"""Pixels that are read at a time, to bound the memory of intermediate copies."""
UINT16_RANGE = ValueRange(0.0, 65535.0)

PACKED_BITS = 12
"""Bits of samples that a TIFF stores packed: they state their range."""
_USUAL_BITS = (8, 10, 12, 14, 16)
_SIGNED_BITS = 15
"""Bits of 16-bit integers with a sign that hold values from 0."""
_FLOAT_SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_SCALE_OVERSHOOT = 0.05
"""Share of a scale by which resampled floats may leave it."""
_OUTLIER_SHARE = 0.001
"""Share of the values at either end that may lie outside of the range of floats and signed integers."""
_SAMPLES_PER_IMAGE = 4096
"""Values of an image, evenly spaced, that the range of floats and signed integers is estimated from."""
_NO_DATA_VALUES = (-9999.0, -32768.0, -(2.0**31))
"""Values that usually mark pixels without a measurement."""
_MARK_MAGNITUDE = float(np.float32(1e20))
"""Magnitude from which floats are no measurements: programs mark missing data with 1e20, 9.97e36, -3.4e38 …"""
_MARK_DISTANCE = 4
"""Factor by which the largest value of a type exceeds all other values where it is taken for a mark of missing data."""
_MIN_MARK_SHARE, _MIN_MARK_COUNT, _MIN_DISTINCT_VALUES = 0.002, 50, 16
"""Share and number of values that are such a mark, and distinct other values; a few are hot pixels of a camera."""


@dataclass(frozen=True)
class SampleStats:
    """Values of one deep image.

    Attributes:
        kind: of its samples.
        low, high: smallest and largest value; 0 if there is none.
        samples: some of its values, float32 [N], sorted.
        has_low_bits: whether values have other bits than those that scaling by shifting to 16 bits would leave.
        declared: what the file declares.
        value_count: number of its values.
        maximum_count: number of those that are the largest that their type can hold.
        high_below: largest of the others; 0 if there is none.
    """

    kind: SampleKind
    low: float
    high: float
    samples: npt.NDArray[np.float32]
    has_low_bits: bool
    declared: DeclaredRange
    value_count: int = 0
    maximum_count: int = 0
    high_below: float = 0.0


def measure_samples(deep: DeepSamples) -> SampleStats:
    """Return the statistics of a deep image; NaN, infinity and pixels without a measurement do not count."""
    width, height = deep.size
    row_count = max(1, BAND_PIXELS // width)
    sample_step = max(1, width * height // _SAMPLES_PER_IMAGE)
    low, high, bits, samples = np.inf, -np.inf, 0, []
    type_maximum, value_count, maximum_count, high_below = _get_type_maximum(deep), 0, 0, -np.inf
    for top in range(0, height, row_count):
        values, _ = deep.read_rows(top, min(top + row_count, height))
        if deep.kind == "uint16":
            bits |= int(np.bitwise_or.reduce(values, axis=None))
        if deep.kind != "uint16" or deep.declared.no_data is not None:
            values = values[is_measured(values, deep.declared.no_data)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            samples.append(values.ravel()[::sample_step].astype(np.float32))
            value_count += values.size
            is_maximum = values == type_maximum
            maximum_count += int(np.count_nonzero(is_maximum))
            other_values = values[~is_maximum] if is_maximum.any() else values
            high_below = max(high_below, float(other_values.max())) if other_values.size else high_below
    shift = 16 - (deep.declared.significant_bits or 16)
    return SampleStats(
        deep.kind,
        low if samples else 0.0,
        high if samples else 0.0,
        np.sort(np.concatenate(samples)) if samples else np.zeros(0, np.float32),
        bool(bits & ((1 << shift) - 1)),
        deep.declared,
        value_count,
        maximum_count,
        high_below if np.isfinite(high_below) else 0.0,
    )


def estimate_ranges(image_stats: Iterable[SampleStats]) -> ValueRanges:
    """Return the value range of each kind of samples in these images; None for a kind that they do not have."""
    stats_by_kind: dict[SampleKind, list[SampleStats]] = {}
    for stats in image_stats:
        stats_by_kind.setdefault(stats.kind, []).append(stats)
    return ValueRanges(
        **{kind: _estimate_range(kind, stats_by_kind[kind]) for kind in SAMPLE_KINDS if kind in stats_by_kind}
    )


def find_usual_maximum(image_stats: Iterable[SampleStats]) -> float:
    """Return the value that nearly all values of these images, at least one, do not exceed."""
    values = np.sort(np.concatenate([stats.samples for stats in image_stats]))
    return _find_quantiles(values)[1] if values.size else 0.0


def find_median(image_stats: Iterable[SampleStats]) -> float:
    """Return the value that half of the values of these images, at least one, exceed; 0 where none was measured."""
    values = np.concatenate([stats.samples for stats in image_stats])
    return float(np.median(values)) if values.size else 0.0


def find_image_range(deep: DeepSamples, value_ranges: ValueRanges) -> ValueRange:
    """Return the range that a deep image is shown at.

    Args:
        deep: the image.
        value_ranges: of its data set. Integers of 16 and of 32 bits stand in for each other; where there is no range,
            it is estimated from the image alone.
    """
    if deep.declared.stored_bits == PACKED_BITS:
        return ValueRange(0.0, 2.0**PACKED_BITS - 1)
    value_range = value_ranges.get(deep.kind)
    if value_range is None and deep.kind != "float32":
        value_range = value_ranges.get("int32" if deep.kind == "uint16" else "uint16")
    if value_range is None:
        value_range = estimate_ranges([measure_samples(deep)]).get(deep.kind)
    assert value_range
    return value_range


@lru_cache(maxsize=16)
def make_level_table(value_range: ValueRange) -> npt.NDArray[np.uint8]:
    """Return the level, uint8 [65536], of each 16-bit value; the whole range gives division by 257, rounded."""
    return scale_to_levels(np.arange(65536, dtype=np.float64), value_range)


def scale_to_levels(values: npt.NDArray[Any], value_range: ValueRange) -> npt.NDArray[np.uint8]:
    """Return values, float32 or float64 [...], as levels, uint8 [...]; NaN, infinity and marks become 0."""
    # Compared so, NaN is left out as well.
    measured_values = np.where(np.abs(values) < _MARK_MAGNITUDE, values, value_range.low)
    span = value_range.high - value_range.low
    levels: npt.NDArray[Any] = (measured_values - value_range.low) * (255.0 / span)
    scaled: npt.NDArray[np.uint8] = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return scaled


def _estimate_range(kind: SampleKind, stats: Sequence[SampleStats]) -> ValueRange:
    """Return the value range of images with samples of one kind."""
    stats = _drop_marks(stats)
    low, high = min(entry.low for entry in stats), max(entry.high for entry in stats)
    declared_ranges = {entry.declared.values for entry in stats}
    if None not in declared_ranges:
        ranges = [declared for declared in declared_ranges if declared]
        declared_low, declared_high = min(entry.low for entry in ranges), max(entry.high for entry in ranges)
        # A declaration that the values contradict is wrong.
        if declared_low <= low and high <= declared_high:
            if len(ranges) == 1:
                return ranges[0]
            high = declared_high  # each file declares its own extremes
    if kind != "float32" and low >= 0 and high < 2 ** _USUAL_BITS[-1]:
        return ValueRange(0.0, 2.0 ** _estimate_bits(stats, high) - 1)
    return _estimate_scale(
        np.sort(np.concatenate([entry.samples for entry in stats])), _FLOAT_SCALES * (kind == "float32")
    )


def _estimate_bits(stats: Sequence[SampleStats], high: float) -> int:
    """Return the number of bits of integers.

    Args:
        stats: of the images.
        high: the largest value.
    """
    declared_bits = {entry.declared.significant_bits for entry in stats}
    significant_bits = declared_bits.pop() if len(declared_bits) == 1 else None
    if significant_bits is None:
        is_signed = all(entry.kind == "int32" and entry.declared.stored_bits == 16 for entry in stats)
        usual_bits = sorted((*_USUAL_BITS, _SIGNED_BITS)) if is_signed else _USUAL_BITS
        return next(bits for bits in usual_bits if high < 2**bits)
    # The samples of a PNG are scaled to 16 bits whatever it declares; some programs declare the bits without scaling.
    is_scaled = high >= 2**significant_bits or not any(entry.has_low_bits for entry in stats)
    return 16 if is_scaled else significant_bits


def _find_quantiles(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return nearly the smallest and nearly the largest of sorted values, float32 [N]."""
    outlier_count = int(_OUTLIER_SHARE * (len(values) - 1))
    return float(values[outlier_count]), float(values[-1 - outlier_count])


def _estimate_scale(values: npt.NDArray[np.float32], scales: Sequence[float]) -> ValueRange:
    """Return the first scale that values fill, else the range between nearly the smallest and nearly the largest one.

    Args:
        values: float32 [N], sorted.
        scales: largest values of usual scales that begin with 0.
    """
    if not values.size:
        return ValueRange(0.0, 1.0)
    low, high = _find_quantiles(values)
    for scale in scales:
        # Values from 2100 to 2500 are heights in meters, say, and not 12 bits.
        begins_low = scale <= _FLOAT_SCALES[1] or low <= scale / 4
        if begins_low and low >= -_SCALE_OVERSHOOT * scale and scale / 2 <= high <= (1 + _SCALE_OVERSHOOT) * scale:
            return ValueRange(0.0, scale)
    if 0 <= low <= high / 4:
        low = 0.0
    # Six digits, so that `config.json` shows what is used.
    low, high = float(f"{low:.6g}"), float(f"{high:.6g}")
    return ValueRange(low, high if high > low else low + 1.0)


def is_measured(values: npt.NDArray[Any], no_data: float | None) -> npt.NDArray[np.bool_]:
    """Return where values are measurements: finite, and not a mark of missing data.

    Args:
        values: uint16 or float32 [...].
        no_data: mark that the file declares; None if it declares none.

    Returns:
        bool [...].
    """
    if values.dtype == np.uint16:
        return np.asarray(values != no_data)
    measured: npt.NDArray[np.bool_] = np.abs(values) < _MARK_MAGNITUDE
    for mark in _NO_DATA_VALUES if no_data is None else (*_NO_DATA_VALUES, no_data):
        measured &= values != np.float32(mark)
    return measured


def _get_type_maximum(deep: DeepSamples) -> float:
    """Return the largest value that samples of an image can have, as float32 holds it; infinity for floats."""
    if deep.kind == "float32":
        return float(np.inf)
    bits = 16 if deep.kind == "uint16" else deep.declared.stored_bits
    is_signed = deep.kind == "int32" and not deep.is_unsigned
    return float(np.float32(2.0 ** (bits - is_signed) - 1))


def _drop_marks(stats: Sequence[SampleStats]) -> Sequence[SampleStats]:
    """Return statistics without the largest value of the type, where that must be a mark of missing data.

    It is one where many values are exactly that, and all others, of which there are several, lie far below. Nothing
    lies between white and black in a drawing either, but these are few values; saturated photographs have values all
    the way up.

    Args:
        stats: of images with samples of one kind.
    """
    marked_stats = [entry for entry in stats if entry.maximum_count]
    if not marked_stats:
        return stats
    mark = max(entry.high for entry in marked_stats)
    mark_count = sum(entry.maximum_count for entry in marked_stats)
    high_below = max(entry.high_below if entry.maximum_count else entry.high for entry in stats)
    other_values = np.concatenate([entry.samples[entry.samples != np.float32(mark)] for entry in stats])
    is_mark = (
        mark_count >= max(_MIN_MARK_COUNT, _MIN_MARK_SHARE * sum(entry.value_count for entry in marked_stats))
        and high_below * _MARK_DISTANCE <= mark
        and np.unique(other_values).size >= _MIN_DISTINCT_VALUES
    )
    if not is_mark:
        return stats
    return [
        replace(
            entry,
            low=min(entry.low, entry.high_below),
            high=entry.high_below,
            samples=entry.samples[entry.samples != np.float32(mark)],
        )
        if entry.maximum_count
        else entry
        for entry in stats
    ]
