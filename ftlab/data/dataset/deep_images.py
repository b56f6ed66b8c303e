"""The value range of a data set's deep images (16 bits, 32 bits, floats), estimated once from a sample. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import ImageError, RunError
from ftlab.data.images import tar_members, value_range
from ftlab.data.images.decode_options import SAMPLE_KINDS, ValueRanges, ranges_from_json
from ftlab.data.images.value_range import UINT16_RANGE, SampleStats
from ftlab.data.isolation import isolated
from ftlab.data.sources.listing import DatasetProblem
from ftlab.runs.directory import Run

MAX_OPENED_FILES = 2000
"""Files that are looked at for deep images at most."""
MAX_MEASURED_IMAGES = 256
"""Deep images that are decoded at most."""
MAX_COMPARED_IMAGES = 16
"""Deep images of another split that are decoded at most, to find out whether it is unlike the training images."""
_SHALLOW_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".avif")
"""Suffixes of formats that have 8 bits, or are decoded to 8 bits in any case: their files are not opened."""
_PNG_SIGNATURE, _PNG_DEPTH_POSITION, _PNG_DEEP_BITS = b"\x89PNG", 24, 16
_OTHER_SIGNATURES = (b"II", b"MM", b"P2", b"P5", b"P6")
"""First bytes of a TIFF, a PGM and a PPM, which may be deep."""
_MAX_SHARE_OF_DARK_SETS = 1 / 16
"""Part of the range below which nearly all values of a data set make it look black."""


def estimate_value_ranges(root: Path, paths: Sequence[str]) -> tuple[ValueRanges, list[DatasetProblem]]:
    """Estimate the value ranges of a data set's deep images from an even sample of its files.

    Args:
        root: folder that the paths are relative to.
        paths: training images, in an order that does not depend on the machine.

    Returns:
        The ranges, without any for a kind of sample that was not found; and a problem with the image of the largest
        value, where that alone makes all others nearly black.
    """
    stats_by_path = _measure_images(root, paths, MAX_MEASURED_IMAGES)
    value_ranges = value_range.estimate_ranges(stats_by_path.values())
    return value_ranges, _find_outlier(value_ranges, stats_by_path)


def find_unlike_split(root: Path, split: str, paths: Sequence[str], value_ranges: ValueRanges) -> list[DatasetProblem]:
    """Find out whether a split's deep images use other values than those that are trained on.

    Args:
        root: folder that the paths are relative to.
        split: name of a split that is not trained on.
        paths: its images.
        value_ranges: of the training images.

    Returns:
        A problem for each kind of sample that would look nearly black, or mostly white, with the first such image.
    """
    problems = []
    stats_by_path = _measure_images(root, paths, MAX_COMPARED_IMAGES) if value_ranges else {}
    for kind in SAMPLE_KINDS:
        known_range = value_ranges.get(kind)
        same_kind = {
            path: stats
            for path, stats in stats_by_path.items()
            if stats.kind == kind and stats.declared.stored_bits != value_range.PACKED_BITS
        }
        if known_range is None or not same_kind:
            continue
        usual_high = value_range.find_usual_maximum(same_kind.values())
        dark_high = known_range.low + (known_range.high - known_range.low) * _MAX_SHARE_OF_DARK_SETS
        is_bright = value_range.find_median(same_kind.values()) > known_range.high
        if usual_high < dark_high or is_bright:
            values: dict[str, str | int] = {
                "split": split,
                "kind": messages.get_text(f"value_range.{kind}"),
                "high": f"{usual_high:.6g}",
                "usual": f"{known_range.high:.6g}",
            }
            problems.append(DatasetProblem(next(iter(same_kind)), f"split_{'bright' if is_bright else 'dark'}", values))
    return problems


def describe_ranges(shown: ValueRanges, present: ValueRanges) -> list[tuple[str, dict[str, object]]]:
    """Return what people are told of the value ranges: keys below `log` in the messages, with their values.

    Args:
        shown: ranges that images are shown at.
        present: ranges of the data set: what it does not have is not mentioned.

    Returns:
        A key and values for each kind of deep image but 16 bits that are all used.
    """
    sentences: list[tuple[str, dict[str, object]]] = []
    for kind in SAMPLE_KINDS:
        found = shown.get(kind)
        if found is None or present.get(kind) is None or (kind == "uint16" and found == UINT16_RANGE):
            continue
        values: dict[str, object] = {"kind": messages.get_text(f"value_range.{kind}"), "high": f"{found.high:.10g}"}
        bits = int(found.high).bit_length()
        if found.low == 0 and found.high == 2**bits - 1 and bits > 1:
            sentences.append(("range_bits", {**values, "bits": bits}))
        else:
            sentences.append(("range", {**values, "low": f"{found.low:.10g}"}))
    return sentences


def format_ranges(value_ranges: ValueRanges) -> list[str]:
    """Return the sentences of `describe_ranges` for the ranges of a data set."""
    return [messages.get_text(f"log.{key}", **values) for key, values in describe_ranges(value_ranges, value_ranges)]


def format_setting(value_ranges: ValueRanges) -> str:
    """Return the setting `value_range` that gives these ranges; empty where kinds of samples have different ones."""
    distinct_ranges = {found for kind in SAMPLE_KINDS if (found := value_ranges.get(kind))}
    if len(distinct_ranges) != 1:
        return ""
    (found,) = distinct_ranges
    return f"{found.low:.10g},{found.high:.10g}"


def read_recorded_ranges(run: Run | None) -> ValueRanges | None:
    """Return the value ranges that a run's model sees images at; None if it recorded none.

    Args:
        run: None for the model without fine-tuning, which knows no range.

    Returns:
        The ranges.

    Raises:
        RunError: `model.json` is missing or damaged.
    """
    if run is None:
        return ValueRanges()
    try:
        return ranges_from_json(run.read_json("model.json").get("preprocessing", {}).get("value_ranges"))
    except (AttributeError, TypeError, ValueError) as cause:
        raise RunError("run.file", run=run.name, file="model.json") from cause


def _measure_images(root: Path, paths: Sequence[str], max_count: int) -> dict[str, SampleStats]:
    """Return the statistics of deep images, evenly spread over files.

    Args:
        root: folder that the paths are relative to.
        paths: of any images.
        max_count: deep images that are decoded at most.
    """
    candidates = [path for path in paths if not path.lower().endswith(_SHALLOW_SUFFIXES)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "range") as pool:
        opened = _spread(candidates, MAX_OPENED_FILES)
        may_be_deep = pool.map(lambda path: _may_be_deep(root / path), opened)
        deep_paths = [path for path, is_candidate in zip(opened, may_be_deep, strict=True) if is_candidate]
        measured = _spread(deep_paths, max_count)
        all_stats = pool.map(lambda path: _measure(root / path), measured)
        return {path: stats for path, stats in zip(measured, all_stats, strict=True) if stats}


def _spread(paths: Sequence[str], max_count: int) -> list[str]:
    """Return at most `max_count` paths, evenly spread."""
    count = min(len(paths), max_count)
    return [paths[position * len(paths) // count] for position in range(count)]


def _may_be_deep(file: Path) -> bool:
    """Return whether the first bytes of a file are those of a PNG of 16 bits, or of any TIFF, PGM or PPM."""
    try:
        with tar_members.open_image_file(file) as stream:
            header = stream.read(_PNG_DEPTH_POSITION + 1)
    except OSError:
        return False
    if header.startswith(_PNG_SIGNATURE):
        return header[_PNG_DEPTH_POSITION:] == bytes([_PNG_DEEP_BITS])
    return header.startswith(_OTHER_SIGNATURES)


def _measure(file: Path) -> SampleStats | None:
    """Return the statistics of a deep image; None for another one, or one that cannot be read."""
    try:
        return isolated.read_sample_stats(file)
    except ImageError:
        return None


def _find_outlier(value_ranges: ValueRanges, stats_by_path: dict[str, SampleStats]) -> list[DatasetProblem]:
    """Return a problem with the 16-bit image of the largest value, if nearly all values are far below it."""
    stats_16 = {path: stats for path, stats in stats_by_path.items() if stats.kind == "uint16"}
    if value_ranges.uint16 != UINT16_RANGE:
        return []
    usual_high = value_range.find_usual_maximum(stats_16.values())
    if usual_high >= UINT16_RANGE.high * _MAX_SHARE_OF_DARK_SETS:
        return []
    path = max(stats_16, key=lambda path: stats_16[path].high)
    values: dict[str, str | int] = {"high": int(stats_16[path].high), "usual": int(usual_high)}
    return [DatasetProblem(path, "bright_value", values)]
