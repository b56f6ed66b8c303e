"""The weights of a model by the names of timm and torchvision, and the lines that build the module for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.core.errors import ExportError
from ftlab.export.answer_network import make_example_images
from ftlab.export.model_source import ModelSource
from ftlab.models import heads
from ftlab.models.network import Network
from ftlab.models.pretrained import weights

_MAX_RELATIVE_ERROR = 1e-4
"""Largest difference of a logit from the network's, relative to the largest logit: rounding alone."""


@dataclass(frozen=True)
class LibraryWeights:
    """Weights for a module of a library.

    Attributes:
        tensors: by the names of the module, on the CPU.
        build_lines: Python that builds the module as `model`, with random weights.
        module: what they build; with the weights, in evaluation mode, once these are found to fit.
        classifier_path: of the library's own classifier, which has the weights of the head; empty where the module has
            another head.
        needs_versions: whether the module asks for the version of its layout, which no safetensors file stores.
    """

    tensors: dict[str, Tensor]
    build_lines: tuple[str, ...]
    module: nn.Module
    classifier_path: str = ""
    needs_versions: bool = False

    def write_loading_lines(self, file_name: str) -> str:
        """Return Python that builds the module and loads its weights from a file.

        Args:
            file_name: of the safetensors file.
        """
        lines = [f'model.load_state_dict(load_file("{file_name}"))']
        if self.needs_versions:
            lines = [
                "state = model.state_dict()  # with the versions of its layout, which a safetensors file has not",
                f'state.update(load_file("{file_name}"))',
                "model.load_state_dict(state)",
            ]
        return "\n".join((*self.build_lines, *lines, "model.eval()"))


def convert_weights(source: ModelSource) -> LibraryWeights:
    """Convert the weights of a model to those of timm's or torchvision's own module.

    The classifier is in the library's place for it where that gives the same logits; else it follows the module.

    Args:
        source: the model; left as it is.

    Returns:
        The weights.

    Raises:
        ExportError: the library's module gives other logits.
    """
    for make_candidate in (_place_classifier, _append_classifier):
        loaded = _load_weights(source, make_candidate(source))
        if loaded is not None:
            return loaded
    raise ExportError("export.library", title=source.predictor.spec.title, library=source.predictor.spec.source)


def find_plain_weights(source: ModelSource) -> LibraryWeights | None:
    """Return weights that the library loads by the architecture's name alone, auxiliary classifiers among them.

    Args:
        source: the model; left as it is.

    Returns:
        The weights; None where the architecture cannot express the network: a head with a hidden layer, or an
        architecture whose classifier is followed by more than ftlab's is (SqueezeNet).
    """
    candidate = _place_classifier(source, with_auxiliary=True)
    return _load_weights(source, candidate) if candidate and candidate.classifier_path else None


def get_architecture(source: ModelSource) -> tuple[str, str]:
    """Return the architecture's name in its library, and timm's tag of the pretrained weights (empty for torchvision).

    Args:
        source: the model.
    """
    spec = source.predictor.spec
    name, _, weights_tag = (weights.get_timm_name(spec) if spec.source == "timm" else spec.name).partition(".")
    return name, weights_tag


def _load_weights(source: ModelSource, candidate: LibraryWeights | None) -> LibraryWeights | None:
    """Return weights whose module has loaded them; None where it does not take them, or gives other logits.

    Args:
        source: the model.
        candidate: with a module of random weights.
    """
    if candidate is None:
        return None
    module = candidate.module.eval()
    state = module.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != {
        name: tensor.shape for name, tensor in candidate.tensors.items()
    }:
        return None
    try:
        module.load_state_dict(candidate.tensors)
    except ValueError:  # MNASNet's modules ask for a version
        state.update(candidate.tensors)
        module.load_state_dict(state)
        candidate = replace(candidate, needs_versions=True)
    images = make_example_images(source)
    with torch.inference_mode():
        expected, logits = source.predictor.network(images), module(images)
    is_equal = logits.shape == expected.shape and bool(
        (logits - expected).abs().max() <= _MAX_RELATIVE_ERROR * expected.abs().max()
    )
    return candidate if is_equal else None


def _place_classifier(source: ModelSource, *, with_auxiliary: bool = False) -> LibraryWeights | None:
    """Return weights with the classifier in the library's own place; None if that is no linear layer.

    Args:
        source: the model.
        with_auxiliary: with the auxiliary classifiers, which are of use in training alone.
    """
    build_lines = _write_build_lines(source, len(source.predictor.class_names), with_auxiliary=with_auxiliary)
    module = _build_module(build_lines)
    head_path = source.predictor.spec.head or getattr(module, "pretrained_cfg", {}).get("classifier")
    own_head = module.get_submodule(head_path) if isinstance(head_path, str) else None
    if not isinstance(own_head, nn.Linear | nn.Conv2d):
        return None
    head = heads.simplify_head(source.predictor.network.head)
    tensors = {f"{head_path}.{name}": tensor for name, tensor in head.state_dict().items()}
    classifier_path = str(head_path)
    if isinstance(head, nn.Linear):
        if head.weight.numel() != own_head.weight.numel():
            return None
        tensors[f"{head_path}.weight"] = head.weight.detach().reshape(own_head.weight.shape)
    elif isinstance(own_head, nn.Linear):
        build_lines = (*build_lines, f'model.set_submodule("{head_path}", {_write_module(head)})')
        module, classifier_path = _build_module(build_lines), ""
    else:
        return None
    tensors |= _read_backbone(source.predictor.network, source.predictor.spec.auxiliary if with_auxiliary else ())
    return LibraryWeights(tensors, build_lines, module, classifier_path)


def _append_classifier(source: ModelSource) -> LibraryWeights:
    """Return weights with the classifier behind the library's module, whose own classifier is left out.

    Args:
        source: the model.
    """
    head_path = source.predictor.spec.head
    build_lines = _write_build_lines(source, None if head_path else 0)
    if head_path:
        build_lines = (*build_lines, f'model.set_submodule("{head_path}", torch.nn.Identity())')
    head = heads.simplify_head(source.predictor.network.head)
    build_lines = (*build_lines, f"model = torch.nn.Sequential(model, {_write_module(head)})")
    tensors = {f"0.{name}": tensor for name, tensor in _read_backbone(source.predictor.network).items()}
    tensors |= {f"1.{name}": tensor for name, tensor in head.state_dict().items()}
    return LibraryWeights(tensors, build_lines, _build_module(build_lines))


def _write_build_lines(
    source: ModelSource, num_classes: int | None, *, with_auxiliary: bool = False
) -> tuple[str, ...]:
    """Return the imports and the line that builds the library's module.

    Args:
        source: the model.
        num_classes: of the classifier; None for that of the library, 0 for none.
        with_auxiliary: with the auxiliary classifiers, which are of use in training alone.
    """
    spec = source.predictor.spec
    options = [] if num_classes is None else [f"num_classes={num_classes}"]
    if spec.source == "timm":
        call = ", ".join([f'timm.create_model("{weights.get_timm_name(spec)}"', *options]) + ")"
        return "import timm", "import torch", "from safetensors.torch import load_file", "", f"model = {call}"
    if spec.auxiliary:
        options += [*([] if with_auxiliary else ["aux_logits=False"]), "init_weights=False"]
    imports = ("import torch", "from safetensors.torch import load_file", "from torchvision import models")
    return *imports, "", f"model = models.{spec.name}({', '.join(options)})"


def _build_module(build_lines: tuple[str, ...]) -> nn.Module:
    """Return the module that the lines build; its random weights leave the process's generator as it was."""
    namespace: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        exec("\n".join(build_lines), namespace)
    module: nn.Module = namespace["model"]
    return module


def _read_backbone(network: Network, classifier_paths: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Return the tensors of a backbone by the library's names.

    Args:
        network: of the model.
        classifier_paths: of its auxiliary classifiers, which ftlab keeps beside the backbone; empty to leave them out.
    """
    tensors: dict[str, Tensor] = dict(network.backbone.state_dict())
    if not classifier_paths:
        auxiliary_prefixes = tuple(f"{path}." for path in network.auxiliary_paths)
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(auxiliary_prefixes)}
    for path, head in zip(classifier_paths, network.auxiliary, strict=False):
        tensors |= {f"{path}.{name}": tensor for name, tensor in heads.find_classifier(head).state_dict().items()}
    return tensors


def _write_module(module: nn.Module) -> str:
    """Return Python that builds a head."""
    if isinstance(module, nn.Sequential):
        return f"torch.nn.Sequential({', '.join(map(_write_module, module))})"
    if isinstance(module, nn.Linear):
        return f"torch.nn.Linear({module.in_features}, {module.out_features})"
    return "torch.nn.ReLU()"
