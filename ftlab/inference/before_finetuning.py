"""What a network looked at before it was fine-tuned, as far as that can be said.

A classifier for a person's classes exists only after the training. So "before" is one of two things, and a person is
told which: for a class that ImageNet knows by name, the pretrained network as it came, looking for that class of
ImageNet's; for any other, the pretrained backbone under the classifier that the training made.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ftlab.config.backbones import Backbone
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference.cam_options import How
from ftlab.inference.predictor import Explanation, Predictor
from ftlab.models import heads, network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class Before:
    """What there is to look at.

    Attributes:
        kind: `imagenet` or `head`, as above; or why there is nothing: `untrained`, this is the pretrained network;
            `same`, its backbone never changed; `scratch`, it began with random numbers; `file`, it began with weights
            that are not kept.
        model: that answers; None where there is nothing.
        index: of the class, in its answer.
    """

    kind: str
    model: Predictor | None = None
    index: int = 0

    @property
    def name(self) -> str:
        """Of the class, as the model that answers has it."""
        return self.model.classes[self.index] if self.model else ""

    def look(self, file: Path | str, how: How = How()) -> tuple[Explanation | None, float]:  # noqa: B008
        """The map of the class and its probability then; None and 0 where there is nothing.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        if self.model is None:
            return None, 0.0
        ranked, found = self.model.look(file, self.index, k=len(self.model.classes), how=how)
        return found, next(score.probability for score in ranked if score.index == self.index)


def find(run: Run | None, model: Predictor, index: int) -> Before:
    """What a run's network was before, for a class.

    Args:
        run: None for the untrained default.
        model: of the run.
        index: of the class.

    Raises:
        WeightsError: the pretrained weights are neither here nor to be had.
    """
    if run is None:
        return Before("untrained")
    config = run.config()
    if config.mode == "scratch" or config.init:
        return Before("file" if config.init else "scratch")
    there = imagenet_classes.match([model.classes[index]]).get(0)
    known = None if there is None else _of_imagenet(model.row, model.prep)
    if known and there is not None:
        return Before("same") if _alike(known, model) else Before("imagenet", known, there)
    earlier = _headed(model)
    return Before("same") if _alike(earlier, model) else Before("head", earlier, index)


def sentence(found: Before, probability: float) -> str:
    """What stands below the map of before, or in its place.

    Args:
        probability: of the class then, in [0, 1].
    """
    if found.model is None:
        return messages.text(f"explain.none.{found.kind}")
    return messages.text(f"explain.earlier_{found.kind}", name=found.name, percent=f"{100 * probability:.1f} %")


@lru_cache(maxsize=1)
def _of_imagenet(row: Backbone, prep: Preprocessing) -> Predictor | None:
    """The pretrained network as it came; None where its weights lack the classifier of ImageNet's thousand, or hold
    zeros in its place."""
    names = imagenet_classes.categories()
    try:
        net = network.build(row, len(names), pretrained=True, inherit={index: index for index in range(len(names))})
    except ConfigError:
        return None
    return Predictor(net, row, prep, names, row.title) if heads.classifier(net.head).weight.any() else None


@lru_cache(maxsize=1)
def _headed(model: Predictor) -> Predictor:
    net = network.build(model.row, len(model.classes), pretrained=True)
    net.head = copy.deepcopy(model.network.head)
    return Predictor(net, model.row, model.prep, model.classes, model.row.title, model.names)


def _alike(one: Predictor, other: Predictor) -> bool:
    """Whether two have the same backbone, bit for bit."""
    mine, theirs = (model.network.backbone.state_dict() for model in (one, other))
    return all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
