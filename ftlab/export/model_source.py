"""The trained model that an export is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ftlab import __version__
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.export.exported_answer import ExportedAnswer
from ftlab.inference import load_model
from ftlab.inference.cam_methods import compute_cam
from ftlab.inference.predictor import Predictor
from ftlab.models import cam_layers, run_checkpoint, weights_file
from ftlab.models.execution.answer_graph import find_class_weights
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class ModelSource:
    """A model that nobody changes any more.

    Attributes:
        predictor: the model, of the export alone; its images are decoded at their full size, as other programs do.
        run_name: of the run; empty without one.
        weights_checksum: SHA-256 of the run's file with these weights.
        run: that it comes from; None without one.
    """

    predictor: Predictor
    run_name: str = ""
    weights_checksum: str = ""
    run: Run | None = None

    @cached_property
    def class_weights(self) -> Tensor | None:
        """Weights of the last linear layer, float32 [K, C], if only global average pooling precedes it; else None.

        Class activation maps are then products of these and the last feature map, without gradients.
        """
        spec = self.predictor.spec
        if not (spec.cam and spec.cam_layout == "chw"):
            return None
        images = cam_layers.make_probe_images(self.predictor.prep.side)
        return find_class_weights(self.predictor.network, spec.cam, images)

    @property
    def temperature(self) -> float:
        """Divisor of the logits before the softmax."""
        return self.predictor.decision.temperature if self.predictor.decision else 1.0

    @property
    def threshold(self) -> float:
        """Probability of the most probable class below which an image is likely of none of the classes; 0: never."""
        return self.predictor.decision.threshold if self.predictor.decision else 0.0

    def describe(self) -> dict[str, Any]:
        """Return what a program has to know beside the weights, as plain JSON: the `model.json` of an export."""
        predictor = self.predictor
        return {
            "ftlab": __version__,
            "title": predictor.title,
            "run": self.run_name,
            "weights_sha256": self.weights_checksum,
            "backbone": predictor.spec.name,
            "classes": list(predictor.class_names),
            "names": predictor.display_names,
            "preprocessing": {
                **predictor.prep.to_json(),
                "color": "RGB",
                "scale": 1 / 255,
                "crop": "center",
            },
            "temperature": self.temperature,
            "threshold": self.threshold,
            "class_maps": self.class_weights is not None,
        }

    def answer(self, pixels: ImageArray) -> ExportedAnswer:
        """Answer an image by torch, as the reference for every format.

        Args:
            pixels: uint8 [H, W, 3] RGB.

        Returns:
            The probabilities, and Grad-CAM's map of the most probable class in place of all others, which are zero;
            no map for an architecture without any.
        """
        predictor = self.predictor
        image = preprocess.resize_and_center_crop(pixels, predictor.prep)
        image_batch = preprocess.normalize_batch(image[None], predictor.prep)
        # Not by `predictor.answers`, which may run a graph: the exported one is compared with torch.
        with predictor.answers.network_lock:
            logits, class_map = compute_cam(predictor.network, predictor.spec, image_batch)
        probabilities = (logits.double() / self.temperature).softmax(0).numpy()
        if not class_map.numel():
            return ExportedAnswer(probabilities)
        class_maps = np.zeros((len(probabilities), *class_map.shape), np.float32)
        class_maps[int(logits.argmax())] = class_map.numpy()
        return ExportedAnswer(probabilities, class_maps)


def load_model_source(run: Run, weights_choice: str = "best") -> ModelSource:
    """Load the model of a run for an export; errors as for `load_model.load_predictor`.

    Args:
        run: with weights.
        weights_choice: `best` or `last`.

    Returns:
        The model.
    """
    shared = load_model.load_predictor(run, weights_choice)
    # A copy: others go on to ask the shared one, and the exporters put hooks on it.
    predictor = Predictor(
        copy.deepcopy(shared.network),
        shared.spec,
        replace(shared.prep, exact_decoding=True),
        shared.class_names,
        shared.title,
        shared.display_names,
        shared.decision,
    )
    return ModelSource(predictor, run.name, _read_weights_checksum(run, weights_choice), run)


def _read_weights_checksum(run: Run, weights_choice: str) -> str:
    """Return the SHA-256 of the file with a run's best or last weights; the latter may be that before a damaged one."""
    if weights_choice == "last":
        checkpoint = run_checkpoint.load_newest_checkpoint(run, lambda _position: None)
        if checkpoint is not None:
            return weights_file.read_checksum(checkpoint.path)
    return weights_file.read_checksum(run.best_weights_path)
