"""From a run to answers: the top classes of a picture, and where the evidence for each lies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import torch
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import DisplayNames
from ftlab.data.images.decode import read_image
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import decision_rule, faithfulness, heatmap
from ftlab.inference.cam_methods import compute_cam
from ftlab.inference.cam_options import CamOptions
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.faithfulness import Faithfulness
from ftlab.inference.heatmap import Heatmap, Uint8Image
from ftlab.models import cam_layers, network, weights_file
from ftlab.models.cam_layers import CamLayer
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run
from ftlab.training.checkpoints import checkpoint

_DISPLAY_SIDE_PIXELS = 1024
"""Pixels of the longer side of a picture as it is shown."""


@dataclass(frozen=True)
class ClassScore:
    """A class and its probability in [0, 1]."""

    class_index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for a class lies.

    Attributes:
        class_index: of the class.
        image: uint8 [H, W, 3], for showing.
        heatmap: float32 [H, W] in [0, 1], aligned with it; its maximum is 1, or it is all zero.
        has_evidence: whether there is any.
        visible_box: x0, y0, x1, y1 in pixels of the picture: what the network saw.
        has_map: whether the architecture gives a map at all.
        cam_options: the method, and the path of the layer looked at.
    """

    class_index: int
    image: Uint8Image
    heatmap: Heatmap
    has_evidence: bool
    visible_box: tuple[int, int, int, int]
    has_map: bool = True
    cam_options: CamOptions = CamOptions()  # noqa: RUF009


class Predictor:
    """A network with the names of its classes and the preparation of its pictures. Any number of threads may use one.
    `display_names` has those for people, in their languages (`data.names.say`); `decision` says how to read the probabilities,
    where the model was evaluated.

    Each picture goes through the network alone: its answer and its map are the same bits whatever else is asked.
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
        self.network = net.eval().requires_grad_(False)
        self.spec, self.prep, self.class_names, self.title, self.display_names = (
            spec,
            prep,
            class_names,
            title,
            display_names or {},
        )
        self.decision = decision
        self._lock = threading.Lock()  # a hook sits on the shared network while a map is computed

    def predict(self, image_path: Path | str, k: int = 5) -> list[ClassScore]:
        """The k most probable classes of a picture, all when there are fewer.

        Raises:
            PictureError: the file is no picture that can be read.
        """
        image_batch, _ = self._load_image(image_path)
        with self._lock, torch.inference_mode():
            logits = self.network(image_batch)[0].float()
        return self.rank_classes(logits, k)

    @cached_property
    def cam_layers(self) -> tuple[CamLayer, ...]:
        """Those worth a look, from the pixels up; none where the architecture gives no map. Takes some passes."""
        with self._lock:
            return cam_layers.find_candidate_layers(self.network, self.spec)

    def get_cam_layer(self, path: str) -> CamLayer:
        """The layer of a path in the backbone; of an empty one, the backbone's own.

        Raises:
            ConfigError: it does not exist, or tells no places apart; the message names those worth a look.
        """
        default_layer = CamLayer.from_spec(self.spec)
        if path in ("", default_layer.path):
            return default_layer
        cam_layer = next((layer for layer in self.cam_layers if layer.path == path), None)
        if cam_layer is None:
            with self._lock:
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
        image_path: Path | str,
        class_index: int | None = None,
        k: int = 5,
        cam_options: CamOptions = CamOptions(),  # noqa: B008 (it is frozen)
    ) -> tuple[list[ClassScore], Explanation]:
        """The top classes and the map of one of them (None: the first), from one forward pass.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        image_batch, pixels = self._load_image(image_path)
        logits, class_map, cam_options = self._compute_cam(image_batch, class_index, cam_options)
        scores = self.rank_classes(logits, k)
        image = _resize_for_display(pixels)
        height, width = image.shape[:2]
        x0, y0, x1, y1 = preprocess.visible_box(pixels.shape[1], pixels.shape[0], self.prep)
        x_min, y_min = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
        # Of a strip a pixel wide, the network sees less than a pixel.
        visible_box = (x_min, y_min, max(x_min + 1, round(x1 * width)), max(y_min + 1, round(y1 * height)))
        target_index = scores[0].class_index if class_index is None else class_index
        class_heatmap = heatmap.render_heatmap(class_map, width, height, visible_box)
        has_map = class_map.numel() > 0
        return scores, Explanation(
            target_index, image, class_heatmap, bool((class_map > 0).any()), visible_box, has_map, cam_options
        )

    def explain(self, image_path: Path | str, class_index: int, cam_options: CamOptions = CamOptions()) -> Explanation:  # noqa: B008
        """The map of one class.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        return self.predict_and_explain(image_path, class_index, cam_options=cam_options)[1]

    def score_faithfulness(
        self,
        image_path: Path | str,
        class_index: int,
        cam_options: CamOptions = CamOptions(),  # noqa: B008
        progress: Callable[[int, int], None] = lambda completed, total: None,
    ) -> Faithfulness | None:
        """Whether the map of a class means anything; None where it shows no evidence. Takes some 200 forward passes.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        image_batch, _ = self._load_image(image_path)
        _, class_map, _ = self._compute_cam(image_batch, class_index, cam_options)
        if not (class_map > 0).any():
            return None
        return faithfulness.score_map(self._predict_probabilities, image_batch, class_map, class_index, progress)

    def _predict_probabilities(self, image_batch: Tensor) -> Tensor:
        """Probabilities of pictures as the network takes them. Others have their turn after each batch."""
        if self.spec.convolutional:  # takes half the time on a processor
            image_batch = image_batch.contiguous(memory_format=torch.channels_last)
        with self._lock, torch.inference_mode():
            return self._apply_softmax(self.network(image_batch).float())

    def _compute_cam(
        self, image_batch: Tensor, class_index: int | None, cam_options: CamOptions
    ) -> tuple[Tensor, Tensor, CamOptions]:
        cam_layer = self.get_cam_layer(cam_options.layer_path)
        with self._lock:
            logits, class_map = compute_cam(
                self.network, self.spec, image_batch, class_index, cam_options.method, cam_layer
            )
        return logits, class_map, replace(cam_options, layer_path=cam_layer.path)

    def is_rejected(self, scores: list[ClassScore]) -> bool:
        """Whether the most probable class is too improbable to be believed: the picture is likely of another kind.
        Never, where the model was not evaluated."""
        return self.decision is not None and self.decision.rejects_probability(scores[0].probability)

    def _load_image(self, image_path: Path | str) -> tuple[Tensor, Uint8Image]:
        pixels = read_image(image_path, min_side=self.prep.min_side)
        image = preprocess.resize_and_center_crop(pixels, self.prep)
        return preprocess.normalize_batch(image[None], self.prep), pixels

    def rank_classes(self, logits: Tensor, k: int) -> list[ClassScore]:
        values, indices = self._apply_softmax(logits).topk(min(k, len(self.class_names)))
        return [ClassScore(i, self.class_names[i], p) for p, i in zip(values.tolist(), indices.tolist(), strict=True)]

    def _apply_softmax(self, logits: Tensor) -> Tensor:
        """At the temperature that validation has chosen, if it has. In float64, so that the probabilities of all
        classes add up to one to the last shown digit."""
        return (logits.double() / (self.decision.temperature if self.decision else 1.0)).softmax(-1)


def load_predictor(run: Run | None, weights_choice: str = "best") -> Predictor:
    """A model of a run as it is so far; None gives the untrained default with the 1000 classes of ImageNet.

    Models are kept in memory and loaded anew when the run has a better one, another `labels.csv`, or was evaluated.

    Args:
        run: a run of any status.
        weights_choice: `best` by validation, or `last`: as the training left it.

    Raises:
        DataError: the run's `labels.csv` cannot be read.
        RunError: the run has no weights yet, or they are damaged.
        WeightsError: the default's weights are not here.
    """
    if run is None:
        return _load_untrained()
    weights_paths = (
        [run.best_weights_path] if weights_choice == "best" else [run.best_weights_path, run.last_checkpoint_path]
    )
    try:
        weights_mtimes = tuple(weights_path.stat().st_mtime_ns for weights_path in weights_paths)
    except OSError as cause:
        raise RunError("run.no_weights", run=run.name) from cause
    extra_paths = (run.path / class_names.LABELS_FILE_NAME, run.path / decision_rule.DECISION_FILENAME)
    return _load_trained(
        run.path,
        weights_choice,
        weights_mtimes,
        tuple(extra_path.stat().st_mtime_ns if extra_path.is_file() else 0 for extra_path in extra_paths),
    )


def read_display_names(run: Run) -> DisplayNames:
    """Names of a run's classes for people: of a `labels.csv` in it, else those that travel with the weights.

    Raises:
        DataError: that list cannot be read.
        RunError: there is no readable `model.json`.
    """
    labels_path = run.path / class_names.LABELS_FILE_NAME
    display_names: DisplayNames = (
        (class_names.read_display_names(labels_path) if labels_path.is_file() else {})
        or run.read_json("model.json").get("names")
        or {}
    )
    return display_names


@lru_cache(maxsize=1)
def _load_untrained() -> Predictor:
    spec = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
    net = network.build_network(spec, None, pretrained=True)
    return Predictor(
        net,
        spec,
        preprocess.from_spec(spec),
        imagenet_classes.load_imagenet_names(),
        messages.get_text("model.untrained", title=spec.title),
    )


@lru_cache(maxsize=4)
def _load_trained(
    run_path: Path, weights_choice: str, _weights_mtimes: tuple[int, ...], _extra_mtimes: tuple[int, ...]
) -> Predictor:
    run = Run(run_path)
    model_info = run.read_json("model.json")
    try:
        spec = (
            backbones.spec_from_json(model_info["row"])
            if "row" in model_info
            else backbones.get_backbone_spec(model_info["backbone"])
        )
    except ValueError as cause:
        raise RunError("run.file", run=run.name, file="model.json") from cause
    head_spec = HeadSpec.from_json(model_info.get("head", {}))
    net = network.build_network(spec, len(model_info["classes"]), pretrained=False, head_spec=head_spec)
    try:
        tensors, header = weights_file.load_tensors(run.best_weights_path)
        net.load_state_dict(tensors)
    except (weights_file.CorruptFileError, OSError, RuntimeError) as cause:
        raise checkpoint.make_damage_error(run, run.best_weights_path, cause) from cause
    if header.get("model", "") not in ("", run.compute_sha256("model.json")):
        raise RunError("run.model", run=run.name)
    title_values = {"title": spec.title, "mode": run.load_config().mode}
    if weights_choice == "last":
        title = messages.get_text("model.last", **title_values, epoch=_load_last_weights(run, net))
    else:
        percent = f"{100 * header['val_accuracy']:.1f}"
        title = messages.get_text("model.trained", **title_values, epoch=header["epoch"], percent=percent)
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    prep = preprocess.from_json(model_info["preprocessing"])
    return Predictor(net, spec, prep, tuple(model_info["classes"]), title, read_display_names(run), decision)


def _load_last_weights(run: Run, net: Network) -> int:
    """Give the best network the weights of the last step; of what does not learn, both have the same. The epoch."""
    last_checkpoint = checkpoint.load_checkpoint(run)
    if last_checkpoint is None:
        raise RunError("run.no_weights", run=run.name)
    try:
        net.load_state_dict({**net.state_dict(), **last_checkpoint.eval_weights})
    except RuntimeError as cause:
        raise checkpoint.make_damage_error(run, last_checkpoint.path, cause) from cause
    return last_checkpoint.train_state.epoch


def _resize_for_display(pixels: Uint8Image) -> Uint8Image:
    scale = _DISPLAY_SIDE_PIXELS / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
