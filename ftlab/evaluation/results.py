"""What a model said of pictures whose classes are known; kept in the run, so that no question needs a second pass.

`evaluation/<pictures>-<best|last>.safetensors`, sealed, and beside it a `.json` with how many were right. It counts as
long as weights and pictures are those it was made of.
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
from ftlab.models import weights_file
from ftlab.runs.directory import Run

WEIGHTS_CHOICES = ("best", "last")
"""The weights of a run that can be asked: the best by validation, and those of its last step."""
EVALUATION_FOLDER = "evaluation"

Float32Array = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.int64]
ProgressCallback = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""


@dataclass(frozen=True)
class EvaluationDataset:
    """Pictures whose classes are known.

    Attributes:
        name: of a split, or of a folder that the training never saw, for files: `test`, `folder-0a1b2c3d`.
        root: folder that the items' paths are relative to.
        items: labels are indices into the model's classes.
        unknown_classes: classes of the folder that the model does not know, and how many pictures of each were left out.
    """

    name: str
    root: Path
    items: tuple[ImageItem, ...]
    unknown_classes: tuple[tuple[str, int], ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex over path, label and size of every picture."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.path}\0{item.label}\0{item.size_bytes}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


class SkippedImage(ProblemMessages):
    """A picture that could not be read: its `path`, and what is wrong with it in two sentences."""

    def __init__(self, path: str, code: str, values: dict[str, object]) -> None:
        self.path, self.code, self.values = path, code, values


@dataclass(frozen=True)
class EvaluationResult:
    """What a model said. N pictures, K classes.

    Attributes:
        dataset_name: their name, see `EvaluationDataset`.
        weights_choice: `best` or `last`.
        class_names: names of the K classes.
        root: folder that the paths are relative to; it may be gone by now.
        paths: of the N pictures that could be read.
        labels: int64 [N], the true classes.
        logits: float32 [N, K].
        skipped_images: pictures that could not be read.
        unknown_classes: as in `EvaluationDataset`.
        weights_checksum: checksum of the weights' file.
        duration_seconds: that the pass took.
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
        """The most probable class of each picture, int64 [N]."""
        return self.logits.argmax(1) if len(self.logits) else np.zeros(0, np.int64)

    @cached_property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Whether that is the true one, bool [N]; not where a logit is no number."""
        return (self.predicted_labels == self.labels) & np.isfinite(self.logits).all(1)

    def get_image_path(self, index: int) -> Path:
        """Where a picture is, or was."""
        return self.root / self.paths[index]


def get_result_path(run: Run, dataset_name: str, weights_choice: str) -> Path:
    """The file of an outcome."""
    return run.path / EVALUATION_FOLDER / f"{dataset_name}-{weights_choice}.safetensors"


def compute_weights_checksum(run: Run, weights_choice: str) -> str:
    """The checksum of the weights that a run has now; empty where there are none, or damaged ones."""
    try:
        return weights_file.read_checksum(
            run.best_weights_path if weights_choice == "best" else run.last_checkpoint_path
        )
    except (weights_file.CorruptFileError, OSError):  # whoever loads them says what is wrong
        return ""


def write_result(run: Run, result: EvaluationResult, fingerprint: str) -> None:
    """Keep an outcome in its run. `fingerprint` is that of its pictures.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    result_path = get_result_path(run, result.dataset_name, result.weights_choice)
    # Of a million pictures the names are too many for the header.
    tensors = {
        "paths": torch.frombuffer(bytearray(json.dumps(result.paths).encode()), dtype=torch.uint8),
        "labels": torch.from_numpy(result.labels),
        "logits": torch.from_numpy(result.logits),
    }
    header = {
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
    # For those who must not load torch, or all logits, to learn this much.
    summary = {"right": int(result.is_correct.sum()), "count": len(result.labels), "weights": result.weights_checksum}
    run.write_json(f"{EVALUATION_FOLDER}/{result_path.stem}.json", summary)


def read_result(run: Run, dataset: EvaluationDataset, weights_choice: str) -> EvaluationResult | None:
    """The outcome that was kept, if it is of these pictures and of the weights that the run has now."""
    result_path = get_result_path(run, dataset.name, weights_choice)
    try:
        tensors, header = weights_file.load_tensors(result_path)
    except (weights_file.CorruptFileError, OSError):  # there is none, or it is damaged: made anew, nothing is lost
        return None
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
        dataset.root,
        tuple(json.loads(arrays["paths"].tobytes())),
        arrays["labels"],
        arrays["logits"],
        tuple(SkippedImage(*skipped_values) for skipped_values in header["skipped"]),
        tuple((name, count) for name, count in header["unknown"]),
        header["weights"],
        header["seconds"],
    )
