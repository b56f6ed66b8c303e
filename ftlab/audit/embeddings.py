"""One pass over the images of a data set: content hashes, sharpness, thumbnails and the backbone's features.

Everything the audit's findings are based on is measured here, once per file: the measurements of unchanged files are
cached in `FTLAB_HOME` and not repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import file_io
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.images import tar_members
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import ValueRanges
from ftlab.data.isolation import isolated
from ftlab.data.transforms import preprocess
from ftlab.models import network, weights_file
from ftlab.models.execution import engines, features
from ftlab.models.execution.device import detect_device
from ftlab.models.execution.features import Features

CACHE_VERSION = 1
"""Version of the measurements; those cached by another version are repeated."""
THUMBNAIL_SIDE_PIXELS = 32
"""Side of a thumbnail in pixels."""
_BLUR_KERNEL_PIXELS = 9
"""Length in pixels of the averaging filter of `measure_blur`, as in the paper."""


@dataclass(frozen=True)
class FileMeasurement:
    """Measurements of one file.

    Attributes:
        size_bytes, mtime_ns: size in bytes and time of the last change in ns; a file counts as unchanged while both
            are.
        file_sha256: SHA-256 of the file, hex.
        pixels_sha256: SHA-256 of the decoded image and its shape, hex.
        width, height: of the upright image, in pixels.
        blur: see `measure_blur`, in [0, 1].
    """

    size_bytes: int
    mtime_ns: int
    file_sha256: str
    pixels_sha256: str
    width: int
    height: int
    blur: float


@dataclass(frozen=True)
class DatasetMeasurements:
    """Measurements of the N images that could be read, in the order of `split_items`.

    Attributes:
        split_items: (split, item) of each image.
        file_measurements: of each image.
        thumbnails: uint8 [N, 32, 32, 3] RGB, each complete image resized by area averaging.
        embeddings: float16 [N, D], the backbone's features.
        unreadable_paths: paths of the images that could not be read.
    """

    split_items: list[tuple[str, ImageItem]]
    file_measurements: list[FileMeasurement]
    thumbnails: npt.NDArray[np.uint8]
    embeddings: Tensor
    unreadable_paths: list[str]


MeasuredEntries = dict[int, tuple[FileMeasurement, npt.NDArray[np.uint8], Tensor]]
"""Measurements of a file, thumbnail and embedding, by the position of the image."""


def measure_images(
    catalog: Catalog, split_items: Sequence[tuple[str, ImageItem]], backbone_name: str, cache_path: Path
) -> Iterator[int | DatasetMeasurements]:
    """Measure images, with those of unchanged files from the cache.

    If the backbone's weights are neither on this machine nor downloadable, `WeightsError` propagates.

    Args:
        catalog: the data set.
        split_items: split and item of each image to measure.
        backbone_name: backbone whose features are computed, with its pretrained weights.
        cache_path: file of earlier measurements; updated at the end.

    Yields:
        The number of images measured so far, and finally the measurements.
    """
    spec = backbones.get_backbone_spec(backbone_name)
    cached_entries = _load_cache(cache_path, _compute_cache_key(spec, catalog.value_ranges))
    # Read before decoding: a file that changes in between is measured again next time.
    file_states = [_read_file_state(catalog.image_path(item)) for _, item in split_items]
    entries: MeasuredEntries = {}
    for index, (_, item) in enumerate(split_items):
        entry = cached_entries.get(item.path)
        if entry and (entry[0].size_bytes, entry[0].mtime_ns) == file_states[index]:
            entries[index] = entry
    missing = [index for index in range(len(split_items)) if index not in entries]
    yield len(entries)
    if missing:
        for update in _measure_missing(
            catalog, [split_items[index][1] for index in missing], [file_states[index] for index in missing], spec
        ):
            if isinstance(update, dict):
                entries |= {missing[position]: entry for position, entry in update.items()}
            else:
                yield len(entries) + update
    measurements = _assemble_measurements(split_items, entries, spec)
    if missing:
        _save_cache(cache_path, _compute_cache_key(spec, catalog.value_ranges), measurements)
    yield measurements


def _assemble_measurements(
    split_items: Sequence[tuple[str, ImageItem]], entries: MeasuredEntries, spec: BackboneSpec
) -> DatasetMeasurements:
    """Assemble the measurements of single images into those of the data set.

    Args:
        split_items: split and item of each image.
        entries: measurements by position in `split_items`; those of unreadable images are missing.
        spec: the backbone.

    Returns:
        The measurements, in the order of `split_items`.
    """
    order = sorted(entries)
    return DatasetMeasurements(
        split_items=[split_items[index] for index in order],
        file_measurements=[entries[index][0] for index in order],
        thumbnails=np.stack([entries[index][1] for index in order])
        if order
        else np.empty((0, THUMBNAIL_SIDE_PIXELS, THUMBNAIL_SIDE_PIXELS, 3), np.uint8),
        embeddings=torch.stack([entries[index][2] for index in order]) if order else torch.empty(0, spec.width).half(),
        unreadable_paths=[item.path for index, (_, item) in enumerate(split_items) if index not in entries],
    )


def measure_blur(gray: npt.NDArray[Any]) -> float:
    """Return how blurred a grayscale image, uint8 [H, W], is: 0 for sharp, 1 for no fine detail or a single tone.

    The measure is how much of the difference between neighboring pixels remains when the image is blurred once more:
    nearly all, if it was blurred before. It depends little on the content (Crété-Roffet et al., 2007, "The blur effect:
    perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, section 2).
    """
    image, max_blur = gray.astype(np.float32), 0.0
    # The worse of both directions: motion blur affects only one.
    for axis, kernel_size in ((1, (_BLUR_KERNEL_PIXELS, 1)), (0, (1, _BLUR_KERNEL_PIXELS))):
        differences = np.abs(np.diff(image, axis=axis))
        blurred_differences = np.abs(np.diff(cv2.blur(image, kernel_size), axis=axis))
        total_difference = float(differences.sum())
        lost_difference = float(np.maximum(0, differences - blurred_differences).sum())
        max_blur = max(
            max_blur, (total_difference - lost_difference) / total_difference if total_difference > 0 else 1.0
        )
    return max_blur


def _measure_missing(
    catalog: Catalog, items: Sequence[ImageItem], file_states: Sequence[tuple[int, int]], spec: BackboneSpec
) -> Iterator[int | MeasuredEntries]:
    """Measure images without the cache.

    Args:
        catalog: the data set.
        items: images to measure.
        file_states: (size, mtime) of each file, read before it is decoded.
        spec: the backbone.

    Yields:
        The number of images measured so far, and finally the measurements by position in `items`.
    """
    prep = replace(preprocess.from_spec(spec), value_ranges=catalog.value_ranges)
    measured_files: dict[int, tuple[FileMeasurement, npt.NDArray[np.uint8]]] = {}

    def load_pixels(index: int) -> Tensor:
        """Return the backbone's input for one image, uint8 [1, 3, S, S], and record its other measurements."""
        image_path = catalog.image_path(items[index])
        pixels = isolated.read_image(image_path, prep.decode_options)
        resized_image = preprocess.resize_image(pixels, prep)
        # Called from several threads; assignments to different keys of a dict need no lock.
        measured_files[index] = (
            _measure_file(image_path, pixels, resized_image, file_states[index]),
            _make_thumbnail(pixels),
        )
        return preprocess.center_crop(resized_image, prep.side)[None]

    net = network.build_network(spec, 1, pretrained=True).eval().requires_grad_(False)
    device = torch.device("cuda" if detect_device() == "cuda" else "cpu")
    engine_args = (net.backbone, spec, lambda batch: preprocess.normalize_batch(batch, prep), prep.side, device)
    updates = features.compute_features(
        engines.choose_engine(*engine_args, view_count=len(items)),
        len(items),
        1,
        load_pixels,
        device,
        count_cpu_cores(),
    )
    for update in updates:
        if isinstance(update, Features):
            embeddings = update.vectors[0].half()  # of the only view; half the memory, precise enough for cosines
            yield {
                index: (*measured_files[index], embeddings[position]) for position, index in enumerate(update.indices)
            }
        else:
            yield update


def _measure_file(
    image_path: Path, pixels: ImageArray, resized_image: Tensor, file_state: tuple[int, int]
) -> FileMeasurement:
    """Return the measurements of one file.

    Args:
        image_path: the file.
        pixels: its decoded image, uint8 [H, W, 3] RGB.
        resized_image: the image at the size that the backbone gets, uint8 [3, h, w].
        file_state: (size in bytes, mtime in ns).
    """
    file_digest = b""
    with tar_members.open_image_file(image_path) as file:
        file_digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    # With the shape: the same bytes may be an image of another width.
    pixels_hash = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
    width, height = isolated.read_image_size(image_path)
    gray = cv2.cvtColor(resized_image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    return FileMeasurement(
        *file_state, file_digest.hex(), pixels_hash.hexdigest(), width, height, round(measure_blur(gray), 4)
    )


def _make_thumbnail(pixels: ImageArray) -> npt.NDArray[np.uint8]:
    """Return an image, uint8 [H, W, 3], resized to uint8 [32, 32, 3] by area averaging, whatever its aspect ratio."""
    return cv2.resize(pixels, (THUMBNAIL_SIDE_PIXELS, THUMBNAIL_SIDE_PIXELS), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _read_file_state(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change in ns of a file; (-1, -1) if there is none."""
    try:
        state = tar_members.read_image_state(path)
    except OSError:
        return -1, -1
    return state.size_bytes, state.mtime_ns


def _load_cache(cache_path: Path, cache_key: str) -> dict[str, tuple[FileMeasurement, npt.NDArray[np.uint8], Tensor]]:
    """Return the cached measurements by path; empty if the file is missing, damaged, or made by another version."""
    try:
        file_io.check_regular_file(cache_path)
        tensors = load_file(cache_path)
        # The names of the tensors are part of the file format, and stay as they are for existing files.
        header = json.loads(bytes(tensors["told"].numpy()))
        if header["by"] != cache_key:
            return {}
        thumbnails = tensors["small"].numpy()
        return {
            path: (FileMeasurement(*values), thumbnails[position], tensors["vectors"][position])
            for position, (path, values) in enumerate(header["files"].items())
        }
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        return {}


def _compute_cache_key(spec: BackboneSpec, value_ranges: ValueRanges) -> str:
    """Return a hash of what the measurements depend on: their version, the backbone's spec and the value ranges."""
    # Measurements of sets without deep images stay valid.
    facts = [CACHE_VERSION, spec.to_json()] + ([value_ranges.to_json()] if value_ranges else [])
    payload = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()


def _save_cache(cache_path: Path, cache_key: str, measurements: DatasetMeasurements) -> None:
    """Write the measurements to the cache: one safetensors file, whose first tensor holds a JSON header as bytes."""
    files = {
        item.path: list(vars(measurement).values())
        for (_, item), measurement in zip(measurements.split_items, measurements.file_measurements, strict=True)
    }
    header_bytes = json.dumps({"by": cache_key, "files": files}).encode()
    tensors = {
        "told": torch.frombuffer(bytearray(header_bytes), dtype=torch.uint8),
        "small": torch.from_numpy(measurements.thumbnails),
        "vectors": measurements.embeddings,
    }
    cache_path.parent.mkdir(parents=True, exist_ok=True)
    with file_io.atomic_write(cache_path) as temp_path:
        weights_file.write_safetensors(temp_path, tensors)
