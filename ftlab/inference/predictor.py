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
from ftlab.config.backbones import Backbone
from ftlab.core import messages
from ftlab.core.errors import ConfigError, RunError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import Names
from ftlab.data.images.decode import read
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import decision_rule, faithfulness, heatmap
from ftlab.inference.cam_methods import attribute
from ftlab.inference.cam_options import How
from ftlab.inference.decision_rule import Decision
from ftlab.inference.faithfulness import Faithfulness
from ftlab.inference.heatmap import Heat, Pixels
from ftlab.models import cam_layers, network, weights_file
from ftlab.models.cam_layers import Layer
from ftlab.models.heads import Plan
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run
from ftlab.training.checkpoints import checkpoint

_SHOWN = 1024
"""Pixels of the longer side of a picture as it is shown."""


@dataclass(frozen=True)
class Score:
    """A class and its probability in [0, 1]."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for a class lies.

    Attributes:
        index: of the class.
        picture: uint8 [H, W, 3], for showing.
        heat: float32 [H, W] in [0, 1], aligned with it; its maximum is 1, or it is all zero.
        evidence: whether there is any.
        box: x0, y0, x1, y1 in pixels of the picture: what the network saw.
        mapped: whether the architecture gives a map at all.
        how: the method, and the path of the layer looked at.
    """

    index: int
    picture: Pixels
    heat: Heat
    evidence: bool
    box: tuple[int, int, int, int]
    mapped: bool = True
    how: How = How()  # noqa: RUF009


class Predictor:
    """A network with the names of its classes and the preparation of its pictures. Any number of threads may use one.
    `names` has those for people, in their languages (`data.names.say`); `decision` says how to read the probabilities,
    where the model was evaluated.

    Each picture goes through the network alone: its answer and its map are the same bits whatever else is asked.
    """

    def __init__(
        self,
        net: Network,
        row: Backbone,
        prep: Preprocessing,
        classes: tuple[str, ...],
        title: str,
        shown: Names | None = None,
        decided: Decision | None = None,
    ) -> None:
        self.network = net.eval().requires_grad_(False)
        self.row, self.prep, self.classes, self.title, self.names = row, prep, classes, title, shown or {}
        self.decision = decided
        self._lock = threading.Lock()  # a hook sits on the shared network while a map is computed

    def top(self, file: Path | str, k: int = 5) -> list[Score]:
        """The k most probable classes of a picture, all when there are fewer.

        Raises:
            PictureError: the file is no picture that can be read.
        """
        batch, _ = self._prepare(file)
        with self._lock, torch.inference_mode():
            logits = self.network(batch)[0].float()
        return self.ranked(logits, k)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Those worth a look, from the pixels up; none where the architecture gives no map. Takes some passes."""
        with self._lock:
            return cam_layers.candidates(self.network, self.row)

    def layer(self, path: str) -> Layer:
        """The layer of a path in the backbone; of an empty one, the backbone's own.

        Raises:
            ConfigError: it does not exist, or tells no places apart; the message names those worth a look.
        """
        own = Layer.of(self.row)
        if path in ("", own.path):
            return own
        found = next((layer for layer in self.layers if layer.path == path), None)
        if found is None:
            with self._lock:
                found = next((one for one in cam_layers.every(self.network, self.row) if one.path == path), None)
        if found is None:
            raise ConfigError("config.map_layer", name=path, names=", ".join(one.path for one in self.layers) or "–")
        return found

    def look(
        self,
        file: Path | str,
        index: int | None = None,
        k: int = 5,
        how: How = How(),  # noqa: B008 (it is frozen)
    ) -> tuple[list[Score], Explanation]:
        """The top classes and the map of one of them (None: the first), from one forward pass.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        batch, pixels = self._prepare(file)
        logits, evidence, how = self._attribute(batch, index, how)
        scores = self.ranked(logits, k)
        picture = _shown(pixels)
        height, width = picture.shape[:2]
        x0, y0, x1, y1 = preprocess.seen_box(pixels.shape[1], pixels.shape[0], self.prep)
        left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
        # Of a strip a pixel wide, the network sees less than a pixel.
        box = (left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height)))
        chosen = scores[0].index if index is None else index
        heat = heatmap.heat(evidence, width, height, box)
        mapped = evidence.numel() > 0
        return scores, Explanation(chosen, picture, heat, bool((evidence > 0).any()), box, mapped, how)

    def explain(self, file: Path | str, index: int, how: How = How()) -> Explanation:  # noqa: B008
        """The map of one class.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        return self.look(file, index, how=how)[1]

    def weigh(
        self,
        file: Path | str,
        index: int,
        how: How = How(),  # noqa: B008
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Faithfulness | None:
        """Whether the map of a class means anything; None where it shows no evidence. Takes some 200 forward passes.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        batch, _ = self._prepare(file)
        _, evidence, _ = self._attribute(batch, index, how)
        if not (evidence > 0).any():
            return None
        return faithfulness.score(self._ask, batch, evidence, index, progress)

    def _ask(self, batch: Tensor) -> Tensor:
        """Probabilities of pictures as the network takes them. Others have their turn after each batch."""
        if self.row.convolutional:  # takes half the time on a processor
            batch = batch.contiguous(memory_format=torch.channels_last)
        with self._lock, torch.inference_mode():
            return self._probabilities(self.network(batch).float())

    def _attribute(self, batch: Tensor, index: int | None, how: How) -> tuple[Tensor, Tensor, How]:
        layer = self.layer(how.layer)
        with self._lock:
            logits, evidence = attribute(self.network, self.row, batch, index, how.method, layer)
        return logits, evidence, replace(how, layer=layer.path)

    def none_of_these(self, scores: list[Score]) -> bool:
        """Whether the most probable class is too improbable to be believed: the picture is likely of another kind.
        Never, where the model was not evaluated."""
        return self.decision is not None and self.decision.refuses(scores[0].probability)

    def _prepare(self, file: Path | str) -> tuple[Tensor, Pixels]:
        pixels = read(file, at_least=self.prep.detail)
        picture = preprocess.evaluation(pixels, self.prep)
        return preprocess.normalise(picture[None], self.prep), pixels

    def ranked(self, logits: Tensor, k: int) -> list[Score]:
        values, indices = self._probabilities(logits).topk(min(k, len(self.classes)))
        return [Score(i, self.classes[i], p) for p, i in zip(values.tolist(), indices.tolist(), strict=True)]

    def _probabilities(self, logits: Tensor) -> Tensor:
        """At the temperature that validation has chosen, if it has. In float64, so that the probabilities of all
        classes add up to one to the last shown digit."""
        return (logits.double() / (self.decision.temperature if self.decision else 1.0)).softmax(-1)


def load(run: Run | None, which: str = "best") -> Predictor:
    """A model of a run as it is so far; None gives the untrained default with the 1000 classes of ImageNet.

    Models are kept in memory and loaded anew when the run has a better one, another `labels.csv`, or was evaluated.

    Args:
        run: a run of any status.
        which: `best` by validation, or `last`: as the training left it.

    Raises:
        DataError: the run's `labels.csv` cannot be read.
        RunError: the run has no weights yet, or they are damaged.
        WeightsError: the default's weights are not here.
    """
    if run is None:
        return _untrained()
    weights = [run.best] if which == "best" else [run.best, run.last]
    try:
        changed = tuple(file.stat().st_mtime_ns for file in weights)
    except OSError as cause:
        raise RunError("run.no_weights", run=run.name) from cause
    beside = (run.path / class_names.FILE, run.path / decision_rule.FILE)
    return _trained(run.path, which, changed, tuple(one.stat().st_mtime_ns if one.is_file() else 0 for one in beside))


def names_of(run: Run) -> Names:
    """Names of a run's classes for people: of a `labels.csv` in it, else those that travel with the weights.

    Raises:
        DataError: that list cannot be read.
        RunError: there is no readable `model.json`.
    """
    own = run.path / class_names.FILE
    shown: Names = (class_names.read(own) if own.is_file() else {}) or run.read("model.json").get("names") or {}
    return shown


@lru_cache(maxsize=1)
def _untrained() -> Predictor:
    row = backbones.get(backbones.DEFAULT)
    net = network.build(row, None, pretrained=True)
    return Predictor(
        net, row, preprocess.of(row), imagenet_classes.categories(), messages.text("model.untrained", title=row.title)
    )


@lru_cache(maxsize=4)
def _trained(path: Path, which: str, _changed: tuple[int, ...], _beside: tuple[int, ...]) -> Predictor:
    run = Run(path)
    model = run.read("model.json")
    try:
        row = backbones.from_json(model["row"]) if "row" in model else backbones.get(model["backbone"])
    except ValueError as cause:
        raise RunError("run.file", run=run.name, file="model.json") from cause
    head = Plan.from_json(model.get("head", {}))
    net = network.build(row, len(model["classes"]), pretrained=False, head=head)
    try:
        tensors, header = weights_file.load(run.best)
        net.load_state_dict(tensors)
    except (weights_file.Broken, OSError, RuntimeError) as cause:
        raise checkpoint.damaged(run, run.best, cause) from cause
    if header.get("model", "") not in ("", run.fingerprint("model.json")):
        raise RunError("run.model", run=run.name)
    facts = {"title": row.title, "mode": run.config().mode}
    if which == "last":
        title = messages.text("model.last", **facts, epoch=_go_on(run, net))
    else:
        percent = f"{100 * header['val_accuracy']:.1f}"
        title = messages.text("model.trained", **facts, epoch=header["epoch"], percent=percent)
    decided = decision_rule.read(run) if which == "best" else None
    prep = preprocess.from_json(model["preprocessing"])
    return Predictor(net, row, prep, tuple(model["classes"]), title, names_of(run), decided)


def _go_on(run: Run, net: Network) -> int:
    """Give the best network the weights of the last step; of what does not learn, both have the same. The epoch."""
    state = checkpoint.read(run)
    if state is None:
        raise RunError("run.no_weights", run=run.name)
    try:
        net.load_state_dict({**net.state_dict(), **state.judged})
    except RuntimeError as cause:
        raise checkpoint.damaged(run, state.file, cause) from cause
    return state.position.epoch


def _shown(pixels: Pixels) -> Pixels:
    scale = _SHOWN / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
