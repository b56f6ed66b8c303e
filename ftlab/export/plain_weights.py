"""Weights in the names of their library, timm or torchvision: what other programs load without ftlab."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ftlab.export.model_source import ModelSource
from ftlab.models import cam_layers, heads
from ftlab.models.pretrained import libraries, weights

_LOGIT_TOLERANCE = 1e-3
"""Largest difference of a logit of a probe image, relative to the largest logit; another order of sums gives 1e-6."""


@dataclass(frozen=True)
class PlainWeights:
    """A trained network as the library's own module.

    Attributes:
        module: of timm or torchvision, with a classifier of the K classes, in evaluation mode on the CPU.
        architecture: its name in the library, without a tag.
        tag: timm's name of the pretrained weights; empty for torchvision.
        classifier_path: of the classifier in the module.
    """

    module: nn.Module
    architecture: str
    tag: str
    classifier_path: str

    def get_tensors(self) -> dict[str, Tensor]:
        """Return the tensors by the library's names, each with memory of its own, as safetensors wants them."""
        return {name: tensor.detach().clone().contiguous() for name, tensor in self.module.state_dict().items()}


def build_plain_weights(source: ModelSource) -> PlainWeights | None:
    """Build the library's module with the trained weights.

    Args:
        source: the trained model; not changed.

    Returns:
        The module; None where the library's architecture cannot express the network: a head with a hidden layer, or
        an architecture whose classifier is followed by more than ftlab's is (SqueezeNet). Whether it does is found by
        the logits of a probe image.
    """
    predictor = source.predictor
    spec = predictor.spec
    classifier = heads.simplify_head(predictor.network.head)
    if not isinstance(classifier, nn.Linear):
        return None
    weight, bias = classifier.weight.detach(), classifier.bias.detach()
    tagged_name = weights.get_timm_name(spec) if spec.source == "timm" else spec.name
    architecture, _, tag = tagged_name.partition(".")
    library = libraries.import_library(spec.source)
    if spec.source == "timm":
        module: nn.Module = library.create_model(tagged_name, pretrained=False, num_classes=len(weight))
        classifier_path = spec.head or _find_timm_classifier(module)
    else:
        options = {"init_weights": False} if spec.auxiliary else {}
        module = library.get_model(spec.name, weights=None, num_classes=len(weight), **options)
        classifier_path = spec.head
    state = dict(module.state_dict())
    trained = {name.removeprefix("backbone."): tensor for name, tensor in _list_backbone_tensors(predictor.network)}
    trained |= _list_auxiliary_tensors(predictor.network, spec.auxiliary)
    target = state.get(f"{classifier_path}.weight")
    if target is None or target.numel() != weight.numel():
        return None
    trained[f"{classifier_path}.weight"] = weight.reshape(target.shape)
    trained[f"{classifier_path}.bias"] = bias
    if set(trained) != set(state) or any(trained[name].shape != state[name].shape for name in state):
        return None
    module.load_state_dict(trained)
    module.eval()
    images = cam_layers.make_probe_images(predictor.prep.side)
    return (
        PlainWeights(module, architecture, tag, classifier_path)
        if _give_equal_logits(predictor.network, module, images)
        else None
    )


def _find_timm_classifier(module: nn.Module) -> str:
    """Return the path of the classifier of a timm model; empty if it has several or none."""
    name = getattr(module, "default_cfg", {}).get("classifier")
    return name if isinstance(name, str) else ""


def _list_backbone_tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the tensors of the backbone by their names in the network."""
    return [(name, tensor) for name, tensor in network.state_dict().items() if name.startswith("backbone.")]


def _list_auxiliary_tensors(network: nn.Module, auxiliary_paths: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the tensors of the auxiliary classifiers by the library's names."""
    tensors = {}
    for index, path in enumerate(auxiliary_paths):
        prefix = f"auxiliary.{index}."
        for name, tensor in network.state_dict().items():
            if name.startswith(prefix):
                tensors[f"{path}.{name.rpartition('.')[2]}"] = tensor
    return tensors


@torch.no_grad()
def _give_equal_logits(network: nn.Module, module: nn.Module, images: Tensor) -> bool:
    """Return whether two modules give the same logits for images, but for rounding."""
    expected, found = network(images), module(images)
    if found.shape != expected.shape:
        return False
    return bool((expected - found).abs().max() <= _LOGIT_TOLERANCE * expected.abs().max().clamp(min=1e-6))
