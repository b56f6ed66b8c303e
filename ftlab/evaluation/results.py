"""Logits of labelled images, stored in the run so that no later question needs a second forward pass.

`evaluation/<dataset>-<best|last>.safetensors`, with a checksum, and next to it a `.json` with the number of correct
predictions. A stored result is valid as long as weights and images are those that it was computed from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ftlab.core.errors import ProblemMessages
from ftlab.data.dataset.catalog import ImageItem
from ftlab.data.sources.listing import DatasetProblem
from ftlab.models import weights_file
from ftlab.runs.directory import Run

WEIGHTS_CHOICES = ("best", "last")
"""Weights of a run that can be evaluated: the best by validation, and those of its last step."""
EVALUATION_FOLDER = "evaluation"
"""Folder of the results in a run directory."""

Float32Array = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.int64]
ProgressCallback = Callable[[int, int], None]
"""Called with the number of images done and the total."""


@dataclass(frozen=True)
class EvaluationDataset:
    """Labelled images to evaluate on.

    Attributes:
        name: split or folder, used in file names: `test`, `folder-0a1b2c3d`.
        root: folder that the items' paths are relative to.
        items: images; labels are indices into the model's classes.
        unknown_classes: classes of the folder that the model does not know, each with its number of skipped images.
        problems: files and folders that were passed over.
    """

    name: str
    root: Path
    items: tuple[ImageItem, ...]
    unknown_classes: tuple[tuple[str, int], ...] = ()
    problems: tuple[DatasetProblem, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 in hex over path, label and size of every image."""
        digest = hashlib.sha256()
        for item in self.items:
            # Paths of any bytes: `surrogatepass` keeps file names that are not valid UTF-8.
            digest.update(f"{item.path}\0{item.label}\0{item.size_bytes}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


class SkippedImage(ProblemMessages):
    """An image that could not be read: its `path`, and the problem and remedy in two sentences."""

    def __init__(self, path: str, code: str, values: dict[str, object]) -> None:
        """Store what the sentences need.

        Args:
            path: relative to the root of the data set.
            code: code of the problem, as `ImageError` has it.
            values: values that the sentences name.
        """
        self.path, self.code, self.values = path, code, values


@dataclass(frozen=True)
class EvaluationResult:
    """Logits of a model for N labelled images and K classes.

    Attributes:
        dataset_name: see `EvaluationDataset.name`.
        weights_choice: `best` or `last`.
        class_names: names of the K classes.
        root: folder that the paths are relative to; it may no longer exist.
        paths: of the N images that could be read.
        labels: true classes, int64 [N].
        logits: float32 [N, K].
        skipped_images: images that could not be read.
        unknown_classes: as in `EvaluationDataset`.
        weights_checksum: checksum of the weights file.
        duration_seconds: time of the forward pass over all images, in seconds.
    """

    dataset_name: str
    weights_choice: str
    class_names: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    labels: LabelArray
    logits: Float32Array
    skipped_images: tuple[SkippedImage, ...]
    unknown_classes: tuple[tuple[str, int], ...]
    weights_checksum: str
    duration_seconds: float

    @cached_property
    def predicted_labels(self) -> LabelArray:
        """Return the most probable class of each image, int64 [N]."""
        return self.logits.argmax(1) if len(self.logits) else np.zeros(0, np.int64)

    @cached_property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Return whether each prediction is correct, bool [N]; False where a logit is not finite."""
        is_right: npt.NDArray[np.bool_] = self.predicted_labels == self.labels
        return is_right & np.isfinite(self.logits).all(1)

    def get_image_path(self, index: int) -> Path:
        """Return the path of an image, which may no longer exist."""
        return self.root / self.paths[index]


def get_result_path(run: Run, dataset_name: str, weights_choice: str) -> Path:
    """Return the file that stores the result of a data set and a choice of weights."""
    return run.path / EVALUATION_FOLDER / f"{dataset_name}-{weights_choice}.safetensors"


def compute_weights_checksum(run: Run, weights_choice: str) -> str:
    """Return the checksum of a run's current weights; empty where they are missing or damaged."""
    try:
        return weights_file.read_checksum(
            run.best_weights_path if weights_choice == "best" else run.last_checkpoint_path
        )
    except (weights_file.CorruptFileError, OSError):  # whoever loads them says what is wrong
        return ""


def write_result(run: Run, result: EvaluationResult, fingerprint: str) -> None:
    """Store a result in its run.

    Propagates `RunError` where the disk is full or the folder cannot be written.

    Args:
        run: the run.
        result: the result to store.
        fingerprint: `EvaluationDataset.fingerprint` of its images.
    """
    result_path = get_result_path(run, result.dataset_name, result.weights_choice)
    # As a tensor: the paths of a million images are too long for the JSON header of a safetensors file.
    tensors = {
        "paths": torch.frombuffer(bytearray(json.dumps(result.paths).encode()), dtype=torch.uint8),
        "labels": torch.from_numpy(result.labels),
        "logits": torch.from_numpy(result.logits),
    }
    header = {
        # These keys are the file format, which older versions of ftlab wrote too.
        "pictures": result.dataset_name,
        "which": result.weights_choice,
        "classes": result.class_names,
        "root": str(result.root),
        "skipped": [
            [skipped_image.path, skipped_image.code, dict(skipped_image.values)]
            for skipped_image in result.skipped_images
        ],
        "unknown": result.unknown_classes,
        "weights": result.weights_checksum,
        "seconds": result.duration_seconds,
        "fingerprint": fingerprint,
    }
    with run.translate_write_errors():
        result_path.parent.mkdir(exist_ok=True)
        weights_file.save_tensors(result_path, tensors, header)
    # Lists of runs read the accuracy from here, without importing torch or loading all logits.
    summary = {"right": int(result.is_correct.sum()), "count": len(result.labels), "weights": result.weights_checksum}
    run.write_json(f"{EVALUATION_FOLDER}/{result_path.stem}.json", summary)


def read_result(run: Run, dataset: EvaluationDataset, weights_choice: str) -> EvaluationResult | None:
    """Return the stored result, if it is of these images and of the run's current weights.

    Args:
        run: the run.
        dataset: images; compared by fingerprint.
        weights_choice: `best` or `last`.

    Returns:
        The result, or None where there is none that is valid.
    """
    result_path = get_result_path(run, dataset.name, weights_choice)
    try:
        tensors, header = weights_file.load_tensors(result_path)
    except (weights_file.CorruptFileError, OSError):  # missing or damaged: it is computed again
        return None
    # Of other weights or images: a training went on, or the folder changed.
    if (header["weights"], header["fingerprint"]) != (
        compute_weights_checksum(run, weights_choice),
        dataset.fingerprint,
    ):
        return None
    arrays = {key: value.numpy() for key, value in tensors.items()}
    return EvaluationResult(
        header["pictures"],
        header["which"],
        tuple(header["classes"]),
        # Not the stored root: the folder may have been moved, with the same images in it.
        dataset.root,
        tuple(json.loads(arrays["paths"].tobytes())),
        arrays["labels"],
        arrays["logits"],
        tuple(SkippedImage(*skipped_values) for skipped_values in header["skipped"]),
        tuple((name, count) for name, count in header["unknown"]),
        header["weights"],
        header["seconds"],
    )
