"""A trained network with its preprocessing and class names: top classes of an image, and activation maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from ftlab.config.backbones import BackboneSpec
from ftlab.core.errors import ConfigError
from ftlab.data.dataset.class_names import DisplayNames
from ftlab.data.isolation import isolated
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import faithfulness, heatmap, shown_image
from ftlab.inference.cam_options import CamOptions
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.faithfulness import Faithfulness
from ftlab.inference.heatmap import Heatmap, Uint8Image
from ftlab.inference.network_answers import NetworkAnswers
from ftlab.models import cam_layers
from ftlab.models.cam_layers import CamLayer
from ftlab.models.network import Network

ImageSource = Path | str | BinaryIO
"""Source of an image: the path of a file, or a seekable stream."""


@dataclass(frozen=True)
class ClassScore:
    """A class and its probability in [0, 1]."""

    class_index: int
    name: str
    probability: float


@dataclass(frozen=True)
class ClassExplanation:
    """Class activation map of an image, ready for display.

    Attributes:
        class_index: of the explained class.
        image: uint8 [H, W, 3] RGB, reduced for display.
        scaled_map: float32 [h, w] in [0, 1], the map of `visible_box`; its maximum is 1, or it is all zero.
        visible_box: x0, y0, x1, y1 in pixels of `image`: the part that the network saw.
        has_map: whether the architecture gives maps at all.
        cam_options: the method, and the path of the target layer.
    """

    class_index: int
    image: Uint8Image
    scaled_map: Heatmap
    visible_box: tuple[int, int, int, int]
    has_map: bool = True
    cam_options: CamOptions = CamOptions()

    @property
    def has_evidence(self) -> bool:
        """Return whether the map is positive anywhere."""
        return bool(self.scaled_map.any())

    @cached_property
    def heatmap(self) -> Heatmap:
        """Return the map over the whole image, float32 [H, W] in [0, 1]; zero outside of `visible_box`."""
        height, width = self.image.shape[:2]
        return heatmap.render_heatmap(self.scaled_map, width, height, self.visible_box)


class Predictor:
    """A network with the names of its classes and the preprocessing of its images. Thread-safe.

    An image's answer and its map are the same bits whatever else is asked at the time. They change in the last digits
    of float32 when `prepare_graph` has built the graph.

    Attributes:
        network: in evaluation mode, without gradients.
        answers: runs the network.
        spec: of the backbone.
        prep: preprocessing of an image.
        class_names: of the K classes, in the order of the logits.
        title: of the model, for people.
        display_names: names of the classes for people, by language (`class_names.get_display_name`).
        decision: temperature and threshold, where the model was evaluated.
    """

    def __init__(
        self,
        net: Network,
        spec: BackboneSpec,
        prep: Preprocessing,
        class_names: tuple[str, ...],
        title: str,
        display_names: DisplayNames | None = None,
        decision: DecisionRule | None = None,
    ) -> None:
        """Take over `net`: it is set to evaluation mode and frozen. The arguments are the attributes of the class."""
        self.network = net.eval().requires_grad_(False)
        self.spec, self.prep, self.class_names, self.title = spec, prep, class_names, title
        self.display_names = display_names or {}
        self.decision = decision
        self.answers = NetworkAnswers(self.network, spec)

    def prepare_graph(self) -> Future[None]:
        """Build the ONNX graph in the background, if the network has one. It pays off from some 64 images on.

        Returns:
            The future that ends with the build.
        """
        return self.answers.prepare_graph(self.prep.side)

    def predict(self, image_path: ImageSource, k: int = 5) -> list[ClassScore]:
        """Predict the most probable classes of an image. An unreadable file gives ImageError.

        Args:
            image_path: of the image.
            k: number of classes; all if there are fewer.

        Returns:
            The classes, the most probable first.
        """
        image_batch, _ = self._load_image(image_path)
        return self.rank_classes(self.answers.compute_logits(image_batch)[0], k)

    @cached_property
    def cam_layers(self) -> tuple[CamLayer, ...]:
        """Candidate target layers, from input to output; none if the architecture gives no map. Takes some passes."""
        with self.answers.network_lock:
            return cam_layers.find_candidate_layers(self.network, self.spec)

    def get_cam_layer(self, path: str) -> CamLayer:
        """Return the target layer of a path in the backbone.

        Args:
            path: of the layer; empty selects the backbone's default.

        Returns:
            The layer.

        Raises:
            ConfigError: it does not exist, or has no spatial grid; the message names the candidates.
        """
        default_layer = CamLayer.from_spec(self.spec)
        if path in ("", default_layer.path):
            return default_layer
        # The candidates are cached; only a path outside of them costs another pass.
        cam_layer = next((layer for layer in self.cam_layers if layer.path == path), None)
        if cam_layer is None:
            with self.answers.network_lock:
                cam_layer = next(
                    (
                        candidate
                        for candidate in cam_layers.find_spatial_layers(self.network, self.spec)
                        if candidate.path == path
                    ),
                    None,
                )
        if cam_layer is None:
            raise ConfigError(
                "config.map_layer", name=path, names=", ".join(candidate.path for candidate in self.cam_layers) or "–"
            )
        return cam_layer

    def predict_and_explain(
        self,
        image_path: ImageSource,
        class_index: int | None = None,
        k: int = 5,
        cam_options: CamOptions = CamOptions(),
    ) -> tuple[list[ClassScore], ClassExplanation]:
        """Predict an image and compute the map of one class, from one forward pass.

        An unreadable file gives ImageError; a layer that does not exist, or has no spatial grid, ConfigError.

        Args:
            image_path: of the image.
            class_index: of the class to explain; None selects the most probable one.
            k: number of classes to return; all if there are fewer.
            cam_options: method and layer.

        Returns:
            The classes, the most probable first, and the map.
        """
        image_batch, pixels = self._load_image(image_path)
        logits, class_map, cam_options = self._compute_cam(image_batch, class_index, cam_options)
        scores = self.rank_classes(logits, k)
        target_index = scores[0].class_index if class_index is None else class_index
        return scores, self._place_map(
            shown_image.resize_for_display(pixels), pixels, class_map, target_index, cam_options
        )

    def explain_classes(
        self, image_path: ImageSource, class_indices: Sequence[int], cam_options: CamOptions = CamOptions()
    ) -> list[ClassExplanation]:
        """Compute the maps of several classes of one image, which is decoded once; errors as for `predict_and_explain`.

        Args:
            image_path: of the image.
            class_indices: of the classes.
            cam_options: method and layer.

        Returns:
            A map for each class, all with the same `image`.
        """
        image_batch, pixels = self._load_image(image_path)
        image = shown_image.resize_for_display(pixels)
        cam_layer = self.get_cam_layer(cam_options.layer_path)
        class_maps = self.answers.compute_class_maps(image_batch, class_indices, cam_options.method, cam_layer)
        cam_options = replace(cam_options, layer_path=cam_layer.path)
        return [
            self._place_map(image, pixels, class_map, class_index, cam_options)
            for class_index, class_map in zip(class_indices, class_maps, strict=True)
        ]

    def _place_map(
        self, image: Uint8Image, pixels: Uint8Image, class_map: Tensor, class_index: int, cam_options: CamOptions
    ) -> ClassExplanation:
        """Return a map with the part of its image that the network saw.

        Args:
            image: as it is shown.
            pixels: the whole image, as it was decoded.
            class_map: float32 [h, w].
            class_index: of the class.
            cam_options: method and layer of the map.
        """
        visible_box = shown_image.locate_visible_box(image, pixels, self.prep)
        scaled_map = heatmap.scale_class_map(class_map)
        return ClassExplanation(class_index, image, scaled_map, visible_box, class_map.numel() > 0, cam_options)

    def explain(
        self, image_path: ImageSource, class_index: int, cam_options: CamOptions = CamOptions()
    ) -> ClassExplanation:
        """Compute the map of one class; errors as for `predict_and_explain`.

        Args:
            image_path: of the image.
            class_index: of the class.
            cam_options: method and layer.

        Returns:
            The map.
        """
        return self.predict_and_explain(image_path, class_index, cam_options=cam_options)[1]

    def score_faithfulness(
        self,
        image_path: ImageSource,
        class_index: int,
        cam_options: CamOptions = CamOptions(),
        progress: Callable[[int, int], None] = lambda _completed, _total: None,
    ) -> Faithfulness | None:
        """Run the deletion and insertion test for the map of a class; takes some 200 forward passes.

        Errors are those of `predict_and_explain`.

        Args:
            image_path: of the image.
            class_index: of the class.
            cam_options: method and layer.
            progress: called as (images done, images in all).

        Returns:
            The test's result; None if the map shows no evidence.
        """
        image_batch, _ = self._load_image(image_path)
        _, class_map, _ = self._compute_cam(image_batch, class_index, cam_options)
        if not (class_map > 0).any():
            return None
        return faithfulness.score_map(self._predict_probabilities, image_batch, class_map, class_index, progress)

    def _predict_probabilities(self, image_batch: Tensor) -> Tensor:
        """Return the probabilities, float64 [B, K], of normalized images, float32 [B, 3, S, S]."""
        if self.spec.convolutional:  # channels-last halves the time of a convolution on the CPU
            image_batch = image_batch.contiguous(memory_format=torch.channels_last)
        return self._apply_softmax(self.answers.compute_logits(image_batch))

    def _compute_cam(
        self, image_batch: Tensor, class_index: int | None, cam_options: CamOptions
    ) -> tuple[Tensor, Tensor, CamOptions]:
        cam_layer = self.get_cam_layer(cam_options.layer_path)
        logits, class_map = self.answers.compute_cam(image_batch, class_index, cam_options.method, cam_layer)
        return logits, class_map, replace(cam_options, layer_path=cam_layer.path)

    def is_rejected(self, scores: list[ClassScore]) -> bool:
        """Return whether the most probable class is below the decision threshold.

        The image is then likely of none of the classes. Always False if the model was not evaluated.
        """
        return self.decision is not None and self.decision.rejects_probability(scores[0].probability)

    def _load_image(self, image_path: ImageSource) -> tuple[Tensor, Uint8Image]:
        pixels = isolated.read_image(image_path, self.prep.decode_options)
        image = preprocess.resize_and_center_crop(pixels, self.prep)
        return preprocess.normalize_batch(image[None], self.prep), pixels

    def rank_classes(self, logits: Tensor, k: int) -> list[ClassScore]:
        """Rank the classes by logits.

        Args:
            logits: float32 [K].
            k: number of classes; all if there are fewer.

        Returns:
            The k classes with their probabilities, the most probable first.
        """
        values, indices = self._apply_softmax(logits).topk(min(k, len(self.class_names)))
        return [ClassScore(i, self.class_names[i], p) for p, i in zip(values.tolist(), indices.tolist(), strict=True)]

    def _apply_softmax(self, logits: Tensor) -> Tensor:
        """Return probabilities, float64 [..., K], of logits at the temperature that validation has chosen, if any."""
        # float64, so that the probabilities of all classes add up to one to the last digit shown.
        return (logits.double() / (self.decision.temperature if self.decision else 1.0)).softmax(-1)
