"""Comparison of an exported model with the trained one, image by image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftlab.core.errors import ExportError, ImageError
from ftlab.data.images.decode import ImageArray
from ftlab.data.isolation import isolated
from ftlab.data.transforms import preprocess
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel, FloatArray
from ftlab.export.model_source import ModelSource
from ftlab.inference import heatmap

MAX_CHECKED_IMAGES = 1000
"""Images that are compared, at most: of more, these are taken at equal distances."""
_TIMED_IMAGES = 30
"""Images whose time is measured, after a first one that is not."""


@dataclass(frozen=True)
class ParityReport:
    """Differences between an exported model and the trained one.

    Attributes:
        images: images that were compared.
        bound: largest allowed difference of a probability.
        largest_difference: of a probability of any class of any image.
        mean_difference: of the largest of each image.
        same_class: images with the same most probable class.
        changed_class: images whose most probable class is another one although it leads by more than twice the bound.
        largest_map_difference: of the class activation maps of the most probable class, both scaled to a maximum of 1;
            None without maps.
        milliseconds: median time of an answer, from pixels to probabilities and maps.
        own_milliseconds: the same of ftlab, with its heat map.
        megabytes: size of all files, 10^6 bytes.
        min_agreement: share of the images that must have the same most probable class, in [0, 1].
    """

    images: int
    bound: float
    largest_difference: float
    mean_difference: float
    same_class: int
    changed_class: int
    largest_map_difference: float | None
    milliseconds: float
    own_milliseconds: float
    megabytes: float = 0.0
    min_agreement: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the exported model is as close as its format promises."""
        # A difference that is no number fails too.
        is_close = self.largest_difference <= self.bound and not self.changed_class
        return is_close and self.same_class >= self.min_agreement * self.images

    def to_json(self) -> dict[str, Any]:
        """Return the fields and `passed` as plain JSON."""
        return {**asdict(self), "passed": self.passed}


def compare_models(
    source: ModelSource,
    exported_model: ExportedModel,
    image_paths: Sequence[Path],
    bound: float,
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
) -> ParityReport:
    """Ask both models of each image.

    Args:
        source: the trained model.
        exported_model: as opened from its files.
        image_paths: N files; at most `MAX_CHECKED_IMAGES` are read.
        bound: largest allowed difference of a probability.
        progress: called as (images done, images to do).

    Returns:
        The report, without the size of the files.

    Raises:
        ExportError: none of the images can be read.
    """
    chosen_paths = [image_paths[index] for index in _choose_indices(len(image_paths))]
    differences: list[float] = []
    map_differences: list[float] = []
    same_class = changed_class = 0
    timed_pixels: list[ImageArray] = []
    for count, image_path in enumerate(chosen_paths, start=1):
        try:
            pixels = isolated.read_image(image_path, source.predictor.prep.decode_options)
        except ImageError:
            continue  # the training has passed it over too, and its scan has named it
        expected, found = source.answer(pixels), exported_model(pixels)
        differences.append(float(np.abs(expected.probabilities - found.probabilities).max()))
        is_same = int(expected.probabilities.argmax()) == int(found.probabilities.argmax())
        same_class += is_same
        second, first = np.sort(expected.probabilities)[-2:]
        changed_class += not is_same and bool(first - second > 2 * bound)
        map_difference = _compare_maps(expected, found)
        if map_difference is not None:
            map_differences.append(map_difference)
        if len(timed_pixels) <= _TIMED_IMAGES:
            timed_pixels.append(pixels)
        progress(count, len(chosen_paths))
    if not differences:
        raise ExportError("export.no_images", run=source.run_name)
    milliseconds, own_milliseconds = _measure_times(source, exported_model, timed_pixels)
    return ParityReport(
        len(differences),
        bound,
        float(np.max(differences)),  # unlike `max`, not a number if any is none
        float(np.mean(differences)),
        same_class,
        changed_class,
        float(np.max(map_differences)) if map_differences else None,
        milliseconds,
        own_milliseconds,
    )


def _choose_indices(count: int) -> list[int]:
    """Return the indices of the images that are compared, at equal distances."""
    chosen_count = min(count, MAX_CHECKED_IMAGES)
    return [index * count // chosen_count for index in range(chosen_count)]


def _compare_maps(expected: ExportedAnswer, found: ExportedAnswer) -> float | None:
    """Return the largest difference of the maps of the class that is most probable for the trained model.

    Args:
        expected: of the trained model.
        found: of the exported one.

    Returns:
        In [0, 1]; None if either has no maps.
    """
    if expected.class_maps is None or found.class_maps is None:
        return None
    class_index = int(expected.probabilities.argmax())
    scaled_maps = [
        _scale_map(answer.class_maps[class_index]) for answer in (expected, found) if answer.class_maps is not None
    ]
    return float(np.abs(scaled_maps[0] - scaled_maps[1]).max())


def _scale_map(class_map: FloatArray) -> FloatArray:
    """Return what is shown of a map; see `heatmap.scale_class_map`."""
    import torch

    return heatmap.scale_class_map(torch.from_numpy(np.asarray(class_map, np.float32)))


def _measure_times(
    source: ModelSource, exported_model: ExportedModel, images: Sequence[ImageArray]
) -> tuple[float, float]:
    """Return the median times of an answer in milliseconds, of the exported model and of ftlab, image by image in turn.

    Args:
        source: the trained model, whose graph is built before.
        exported_model: the exported model.
        images: the first one only warms up, unless it is the only one.
    """
    predictor = source.predictor
    predictor.prepare_graph().result()

    def answer_by_graph(pixels: ImageArray) -> None:
        image = preprocess.resize_and_center_crop(pixels, predictor.prep)
        image_batch = preprocess.normalize_batch(image[None], predictor.prep)
        predictor.answers.compute_cam(image_batch, None, "grad_cam", predictor.get_cam_layer(""))

    times: dict[int, list[float]] = {0: [], 1: []}
    for pixels in images:
        for number, answer in enumerate((exported_model, answer_by_graph)):
            start = time.perf_counter()
            answer(pixels)
            times[number].append(1000 * (time.perf_counter() - start))
    export_times, own_times = (values[1:] or values for values in times.values())
    return statistics.median(export_times), statistics.median(own_times)
