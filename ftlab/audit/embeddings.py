"""One look at each picture of a data set: what it holds to the byte, how sharp it is, and what the backbone sees in it.

Everything that the doctor's findings rest on is measured here, once a file: what is known of a file that has not
changed since is kept in `FTLAB_HOME` and not measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import file_io
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.models.execution.features import Features

CACHE_VERSION = 1
"""Of what is measured: what another one kept is measured anew."""
THUMBNAIL_SIDE_PIXELS = 32
"""Pixels a side of the small picture that is kept of each."""
_BLUR_KERNEL_PIXELS = 9
"""Pixels over which `blur` averages, as in the paper."""


@dataclass(frozen=True)
class FileMeasurement:
    """What is known of one file.

    Attributes:
        size_bytes, mtime_ns: bytes and time of the last change in ns: the file is the same as long as these are.
        file_sha256: SHA-256 of the file, hex.
        pixels_sha256: SHA-256 of the decoded picture and its shape, hex.
        width, height: of the upright picture, in pixels.
        blur: see `blur`, in [0, 1].
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
    """What was found, N pictures in the order of `split_items`.

    Attributes:
        split_items: (split, item) of each picture that could be read.
        file_measurements: of each.
        thumbnails: uint8 [N, 32, 32, 3], each whole picture averaged down.
        embeddings: float16 [N, D], what the backbone saw.
        unreadable_paths: paths that could not be read.
    """

    split_items: list[tuple[str, ImageItem]]
    file_measurements: list[FileMeasurement]
    thumbnails: npt.NDArray[np.uint8]
    embeddings: Tensor
    unreadable_paths: list[str]


def measure_images(
    catalog: Catalog, split_items: Sequence[tuple[str, ImageItem]], backbone_name: str, cache_path: Path
) -> Iterator[int | DatasetMeasurements]:
    """Look at pictures: how many are known so far, at last what was found.

    Args:
        catalog: of the pictures.
        split_items: split and item of those to look at.
        backbone_name: whose features are taken; it needs its pretrained weights.
        cache_path: file that holds what was measured before, and will hold what is known then.

    Raises:
        WeightsError: the backbone's weights are neither here nor to be had.
    """
    spec = backbones.get_backbone_spec(backbone_name)
    cached_entries = _load_cache(cache_path, spec)
    file_states = [_read_file_state(catalog.image_path(item)) for _, item in split_items]
    entries: dict[int, tuple[FileMeasurement, npt.NDArray[np.uint8], Tensor]] = {}
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
    order = sorted(entries)
    measurements = DatasetMeasurements(
        split_items=[split_items[index] for index in order],
        file_measurements=[entries[index][0] for index in order],
        thumbnails=np.stack([entries[index][1] for index in order])
        if order
        else np.empty((0, THUMBNAIL_SIDE_PIXELS, THUMBNAIL_SIDE_PIXELS, 3), np.uint8),
        embeddings=torch.stack([entries[index][2] for index in order]) if order else torch.empty(0, spec.width).half(),
        unreadable_paths=[item.path for index, (_, item) in enumerate(split_items) if index not in entries],
    )
    if missing:
        _save_cache(cache_path, spec, measurements)
    yield measurements


def measure_blur(gray: npt.NDArray[Any]) -> float:
    """How blurred a picture, uint8 [H, W], is: 0 sharp, 1 without any fine detail, or of one tone.

    How much of the difference between neighbours is left when the picture is blurred once more: nearly all where it
    was blurred before. It depends little on what the picture shows (Crété-Roffet et al., 2007, "The blur effect:
    perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, section 2).
    """
    image, max_blur = gray.astype(np.float32), 0.0
    for axis, kernel_size in ((1, (_BLUR_KERNEL_PIXELS, 1)), (0, (1, _BLUR_KERNEL_PIXELS))):
        differences = np.abs(np.diff(image, axis=axis))
        blurred_differences = np.abs(np.diff(cv2.blur(image, kernel_size), axis=axis))
        total_difference = float(differences.sum())
        lost_difference = float(np.maximum(0, differences - blurred_differences).sum())
        max_blur = max(
            max_blur, (total_difference - lost_difference) / total_difference if total_difference > 0 else 1.0
        )
    return max_blur


MeasuredEntries = dict[int, tuple[FileMeasurement, npt.NDArray[np.uint8], Tensor]]


def _measure_missing(
    catalog: Catalog, items: Sequence[ImageItem], file_states: Sequence[tuple[int, int]], spec: BackboneSpec
) -> Iterator[int | MeasuredEntries]:
    """Pictures done, at last what was found, by position in `items`."""
    prep = preprocess.from_spec(spec)
    measured_files: dict[int, tuple[FileMeasurement, npt.NDArray[np.uint8]]] = {}

    def load_pixels(index: int) -> Tensor:
        image_path = catalog.image_path(items[index])
        pixels = decode.read_image(image_path, min_side=prep.min_side)
        resized_image = preprocess.resize_image(pixels, prep)
        measured_files[index] = (
            _measure_file(image_path, pixels, resized_image, file_states[index]),
            _make_thumbnail(pixels),
        )
        return preprocess.center_crop(resized_image, prep.side)[None]

    net = network.build_network(spec, 1, pretrained=True).eval().requires_grad_(False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
            embeddings = update.vectors[0].half()
            yield {
                index: (*measured_files[index], embeddings[position]) for position, index in enumerate(update.indices)
            }
        else:
            yield update


def _measure_file(
    image_path: Path, pixels: ImageArray, resized_image: Tensor, file_state: tuple[int, int]
) -> FileMeasurement:
    file_digest = b""
    with open(image_path, "rb") as file:
        file_digest = hashlib.file_digest(file, "sha256").digest()
    pixels_hash = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
    width, height = decode.read_image_size(image_path)
    gray = cv2.cvtColor(resized_image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    return FileMeasurement(
        *file_state, file_digest.hex(), pixels_hash.hexdigest(), width, height, round(measure_blur(gray), 4)
    )


def _make_thumbnail(pixels: ImageArray) -> npt.NDArray[np.uint8]:
    return cv2.resize(pixels, (THUMBNAIL_SIDE_PIXELS, THUMBNAIL_SIDE_PIXELS), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _read_file_state(path: Path) -> tuple[int, int]:
    """Bytes, and time of the last change in ns; of a file that is gone (-1, -1)."""
    try:
        stat_result = os.stat(path)
    except OSError:
        return -1, -1
    return stat_result.st_size, stat_result.st_mtime_ns


def _load_cache(
    cache_path: Path, spec: BackboneSpec
) -> dict[str, tuple[FileMeasurement, npt.NDArray[np.uint8], Tensor]]:
    """What is kept, by path; nothing where the file is not there, is damaged, or of another version."""
    try:
        tensors = load_file(cache_path)
        header = json.loads(bytes(tensors["told"].numpy()))
        if header["by"] != _compute_cache_key(spec):
            return {}
        thumbnails = tensors["small"].numpy()
        return {
            path: (FileMeasurement(*values), thumbnails[position], tensors["vectors"][position])
            for position, (path, values) in enumerate(header["files"].items())
        }
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        return {}


def _compute_cache_key(spec: BackboneSpec) -> str:
    """What measured: another one gives other values."""
    payload = json.dumps([CACHE_VERSION, spec.to_json()], sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()


def _save_cache(cache_path: Path, spec: BackboneSpec, measurements: DatasetMeasurements) -> None:
    files = {
        item.path: list(vars(measurement).values())
        for (_, item), measurement in zip(measurements.split_items, measurements.file_measurements, strict=True)
    }
    header_bytes = json.dumps({"by": _compute_cache_key(spec), "files": files}).encode()
    tensors = {
        "told": torch.frombuffer(bytearray(header_bytes), dtype=torch.uint8),
        "small": torch.from_numpy(measurements.thumbnails),
        "vectors": measurements.embeddings,
    }
    cache_path.parent.mkdir(parents=True, exist_ok=True)
    with file_io.atomic_write(cache_path) as temp_path:
        save_file(tensors, temp_path)
