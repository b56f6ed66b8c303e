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

from ftlab.config.backbones import BackboneSpec
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference.cam_options import CamOptions
from ftlab.inference.predictor import Explanation, Predictor
from ftlab.models import heads, network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class PretrainedBaseline:
    """What there is to look at.

    Attributes:
        kind: `imagenet` or `head`, as above; or why there is nothing: `untrained`, this is the pretrained network;
            `same`, its backbone never changed; `scratch`, it began with random numbers; `file`, it began with weights
            that are not kept.
        model: that answers; None where there is nothing.
        class_index: of the class, in its answer.
    """

    kind: str
    model: Predictor | None = None
    class_index: int = 0

    @property
    def class_name(self) -> str:
        """Of the class, as the model that answers has it."""
        return self.model.class_names[self.class_index] if self.model else ""

    def explain(
        self, image_path: Path | str, cam_options: CamOptions = CamOptions()
    ) -> tuple[Explanation | None, float]:
        """The map of the class and its probability then; None and 0 where there is nothing.

        Raises:
            PictureError: the file is no picture that can be read.
            ConfigError: the layer looked at does not exist, or tells no places apart.
        """
        if self.model is None:
            return None, 0.0
        scores, explanation = self.model.predict_and_explain(
            image_path, self.class_index, k=len(self.model.class_names), cam_options=cam_options
        )
        return explanation, next(score.probability for score in scores if score.class_index == self.class_index)


def pretrained_baseline(run: Run | None, model: Predictor, class_index: int) -> PretrainedBaseline:
    """What a run's network was before, for a class.

    Args:
        run: None for the untrained default.
        model: of the run.
        class_index: of the class.

    Raises:
        WeightsError: the pretrained weights are neither here nor to be had.
    """
    if run is None:
        return PretrainedBaseline("untrained")
    config = run.load_config()
    if config.mode == "scratch" or config.init:
        return PretrainedBaseline("file" if config.init else "scratch")
    imagenet_index = imagenet_classes.match_imagenet_classes([model.class_names[class_index]]).get(0)
    imagenet_model = None if imagenet_index is None else load_imagenet_predictor(model.spec, model.prep)
    if imagenet_model and imagenet_index is not None:
        return (
            PretrainedBaseline("same")
            if _have_same_backbone(imagenet_model, model)
            else PretrainedBaseline("imagenet", imagenet_model, imagenet_index)
        )
    head_model = _load_with_trained_head(model)
    return (
        PretrainedBaseline("same")
        if _have_same_backbone(head_model, model)
        else PretrainedBaseline("head", head_model, class_index)
    )


def describe_baseline(baseline: PretrainedBaseline, probability: float) -> str:
    """What stands below the map of before, or in its place.

    Args:
        probability: of the class then, in [0, 1].
    """
    if baseline.model is None:
        return messages.get_text(f"explain.none.{baseline.kind}")
    return messages.get_text(
        f"explain.earlier_{baseline.kind}", name=baseline.class_name, percent=f"{100 * probability:.1f} %"
    )


@lru_cache(maxsize=1)
def load_imagenet_predictor(spec: BackboneSpec, prep: Preprocessing) -> Predictor | None:
    """The pretrained network as it came; None where its weights lack the classifier of ImageNet's thousand, or hold
    zeros in its place."""
    class_names = imagenet_classes.load_imagenet_names()
    try:
        net = network.build_network(
            spec, len(class_names), pretrained=True, source_indices={index: index for index in range(len(class_names))}
        )
    except ConfigError:
        return None
    return Predictor(net, spec, prep, class_names, spec.title) if heads.find_classifier(net.head).weight.any() else None


@lru_cache(maxsize=1)
def _load_with_trained_head(model: Predictor) -> Predictor:
    net = network.build_network(model.spec, len(model.class_names), pretrained=True)
    net.head = copy.deepcopy(model.network.head)
    return Predictor(net, model.spec, model.prep, model.class_names, model.spec.title, model.display_names)


def _have_same_backbone(model_a: Predictor, model_b: Predictor) -> bool:
    """Whether two have the same backbone, bit for bit."""
    state_a, state_b = (model.network.backbone.state_dict() for model in (model_a, model_b))
    return all(torch.equal(tensor, state_b[name]) for name, tensor in state_a.items())
