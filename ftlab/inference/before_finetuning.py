"""The baseline that a fine-tuned model is compared with: the same network before fine-tuning, as far as there is one.

A classifier for a person's classes exists only after the training. So "before" is one of two things, and the caption
says which: for a class that ImageNet knows by name, the pretrained network with its own classifier, explaining that
ImageNet class; for any other, the pretrained backbone under the classifier that the training made.
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
from ftlab.inference.predictor import ClassExplanation, Predictor
from ftlab.models import heads, network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class PretrainedBaseline:
    """The model before fine-tuning, or the reason why there is none.

    Attributes:
        kind: `imagenet` or `head`, the two cases above; or why there is no model: `untrained`, it is itself the
            pretrained network; `same`, its backbone never changed; `scratch`, it started from random weights; `file`,
            it started from weights that are not kept.
        model: the network before fine-tuning; None if there is none.
        class_index: of the explained class among `model.class_names`.
    """

    kind: str
    model: Predictor | None = None
    class_index: int = 0

    @property
    def class_name(self) -> str:
        """The explained class's name in the baseline model; empty without one."""
        return self.model.class_names[self.class_index] if self.model else ""

    def explain(
        self,
        image_path: Path | str,
        cam_options: CamOptions = CamOptions(),
    ) -> tuple[ClassExplanation | None, float]:
        """Compute the map and the probability of the class before fine-tuning.

        An unreadable file gives ImageError; a layer that does not exist, or has no spatial grid, ConfigError.

        Args:
            image_path: of the image.
            cam_options: method and layer.

        Returns:
            The explanation and the class's probability in [0, 1]; None and 0 without a baseline model.
        """
        if self.model is None:
            return None, 0.0
        # All classes, for the one asked about may be anywhere in the ranking.
        scores, explanation = self.model.predict_and_explain(
            image_path, self.class_index, k=len(self.model.class_names), cam_options=cam_options
        )
        return explanation, next(score.probability for score in scores if score.class_index == self.class_index)


def pretrained_baseline(run: Run | None, model: Predictor, class_index: int) -> PretrainedBaseline:
    """Find what a run's network was before fine-tuning, for one class.

    Pretrained weights that are neither here nor can be downloaded give WeightsError.

    Args:
        run: None for the untrained default.
        model: of the run.
        class_index: of the class, in `model`.

    Returns:
        The baseline.
    """
    if run is None:
        return PretrainedBaseline("untrained")
    config = run.load_config()
    if config.mode == "scratch" or config.init_from:
        return PretrainedBaseline("file" if config.init_from else "scratch")
    # ImageNet's own classifier, where it knows the class, is the truest "before".
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
    """Write the caption of the map before fine-tuning, or the sentence that stands in its place.

    Args:
        baseline: from `pretrained_baseline`.
        probability: of the class in the baseline model, in [0, 1].

    Returns:
        One sentence in the person's language.
    """
    if baseline.model is None:
        return messages.get_text(f"explain.none.{baseline.kind}")
    return messages.get_text(
        f"explain.earlier_{baseline.kind}", name=baseline.class_name, percent=f"{100 * probability:.1f} %"
    )


# One baseline at a time: it is as large as the model, and asked for again with every image and layer.
@lru_cache(maxsize=1)
def load_imagenet_predictor(spec: BackboneSpec, prep: Preprocessing) -> Predictor | None:
    """Load the pretrained network with its own classifier.

    Args:
        spec: of the backbone.
        prep: the run's preprocessing, so that both maps show the same part of the image.

    Returns:
        The model; None if its weights lack a classifier for ImageNet's 1000 classes, or hold zeros in its place.
    """
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
    # A copy: `Predictor` freezes the modules it is given.
    net.head = copy.deepcopy(model.network.head)
    return Predictor(net, model.spec, model.prep, model.class_names, model.spec.title, model.display_names)


def _have_same_backbone(model_a: Predictor, model_b: Predictor) -> bool:
    """Return whether two models have the same backbone, bit for bit (BatchNorm statistics included)."""
    state_a, state_b = (model.network.backbone.state_dict() for model in (model_a, model_b))
    return all(torch.equal(tensor, state_b[name]) for name, tensor in state_a.items())
