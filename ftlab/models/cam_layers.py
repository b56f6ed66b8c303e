"""The layers of a network that can be looked at: those that tell places apart, and on which its answer depends by
places. Found by letting a picture through."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.models import blocks
from ftlab.models.activation_layout import to_feature_map
from ftlab.models.network import Network

OutputHook = Callable[[str, Any], Tensor | None]
_ACTIVATION_TYPES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish)


@dataclass(frozen=True)
class CamLayer:
    """One whose output tells places apart.

    Attributes:
        path: in the backbone; empty: there is none.
        layout: `chw`, `hwc` or `num_prefix_tokens`, as in a backbone's row.
        num_prefix_tokens: those that stand for no place and come first.
        grid_size: of its map, in places; 0 where it is not known.
    """

    path: str
    layout: str
    num_prefix_tokens: int
    grid_size: int = 0

    @classmethod
    def from_spec(cls, spec: BackboneSpec) -> CamLayer:
        """The one that a row names."""
        return cls(spec.cam, spec.cam_layout, spec.cam_tokens)


def find_candidate_layers(net: Network, spec: BackboneSpec) -> tuple[CamLayer, ...]:
    """Layers worth a look, from the pixels up: the row's own, the blocks and what holds several, and, where no blocks
    are, activations and poolings. None twice under two names, and none whose map would be empty whatever the picture.

    The network is left as found. It goes through it twice, and back once.
    """
    if not spec.cam:
        return ()
    training_flags = {module: module.training for module in net.modules()}
    backbone = net.backbone.eval()
    try:
        with torch.inference_mode(False):
            image = _make_probe_image(net, spec)
            with torch.no_grad():
                spatial_layers, tensor_ids = _trace_spatial_layers(backbone, image)
            candidate_layers = _select_candidates(backbone, spec, spatial_layers, tensor_ids)
            useful_layers = informative_layers(backbone, image, candidate_layers)
    finally:
        for module, training in training_flags.items():
            module.training = training
    return tuple(layer for layer in candidate_layers if layer in useful_layers or layer.path == spec.cam)


def find_spatial_layers(net: Network, spec: BackboneSpec) -> tuple[CamLayer, ...]:
    """All layers that tell places apart, in the order in which they are done. The network is left as found."""
    training_flags = {module: module.training for module in net.modules()}
    backbone = net.backbone.eval()
    try:
        with torch.no_grad():
            return tuple(_trace_spatial_layers(backbone, _make_probe_image(net, spec))[0])
    finally:
        for module, training in training_flags.items():
            module.training = training


def _make_probe_image(net: Network, spec: BackboneSpec) -> Tensor:
    return make_probe_images(spec.side)[:1].to(next(net.parameters()).device)


def _trace_spatial_layers(backbone: nn.Module, image: Tensor) -> tuple[list[CamLayer], dict[str, int]]:
    """Layers that tell places apart, in the order in which they are done; and which tensor each gave, as a number:
    what works in place, and what holds it, give the same one."""
    spatial_layers: list[CamLayer] = []
    output_tensors: dict[str, Tensor] = {}

    def record_output(path: str, output: Any) -> None:
        record_spatial_layer(spatial_layers, path, output)
        if isinstance(output, Tensor):
            output_tensors[path] = output  # kept, so that no other gets its number

    run_with_hooks(backbone, image, None, record_output)
    return spatial_layers, {path: id(tensor) for path, tensor in output_tensors.items()}


def _select_candidates(
    backbone: nn.Module, spec: BackboneSpec, spatial_layers: list[CamLayer], tensor_ids: dict[str, int]
) -> list[CamLayer]:
    max_depth = blocks.find_block_depth(backbone)
    layer_by_tensor: dict[int, CamLayer] = {}
    for layer in spatial_layers:
        current_layer = layer_by_tensor.get(tensor_ids[layer.path])
        # The shortest name of a tensor; of two as short, what worked on it last. A row's own name outdoes all.
        is_shorter = current_layer is None or layer.path.count(".") <= current_layer.path.count(".")
        if layer.path == spec.cam or (is_shorter and not (current_layer and current_layer.path == spec.cam)):
            layer_by_tensor.pop(tensor_ids[layer.path], None)
            layer_by_tensor[tensor_ids[layer.path]] = layer
    return [
        layer
        for layer in layer_by_tensor.values()
        if layer.path == spec.cam
        or (layer.path.count(".") < max_depth and _is_complete_output(backbone.get_submodule(layer.path)))
    ]


def _is_complete_output(module: nn.Module) -> bool:
    """Whether what comes out is complete: of a block, of an activation, of a pooling. What a bare convolution or a
    normalisation gives is still to be worked on."""
    has_children = any(True for _ in module.children())
    return has_children or isinstance(module, _ACTIVATION_TYPES) or type(module).__module__.endswith(".pooling")


def make_probe_images(image_size: int) -> Tensor:
    """Two pictures to try a network with, float32 [2, 3, side, side]: patches of one colour, for noise is the same
    all over to a layer that looks at much of it."""
    return F.interpolate(
        2 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), image_size, mode="bilinear"
    )


def run_with_hooks(module: nn.Module, image: Tensor, only_paths: Container[str] | None, hook: OutputHook) -> Any:
    """Let a picture through, and `hook` what comes out of each layer, in order; of `only_paths` these if they are named. What
    it gives back goes on instead."""
    handles = [
        submodule.register_forward_hook(lambda _m, _i, output, path=path: hook(path, output))
        for path, submodule in module.named_modules()
        # Inside of attention, and at its gates, values are mixed anew: what differs there is no feature of a place.
        if path and not isinstance(submodule, nn.Identity) and "att" not in path and "qkv" not in path
        if only_paths is None or path in only_paths
    ]
    try:
        return module(image)
    finally:
        for handle in handles:
            handle.remove()


def record_spatial_layer(layers: list[CamLayer], path: str, output: Any) -> None:
    """Add a layer by what came out of it, if that tells places apart; one that runs twice stands where it ran last."""
    layers[:] = [layer for layer in layers if layer.path != path]
    layout = infer_layout(output)
    if layout is not None:
        layers.append(CamLayer(path, *layout))


def infer_layout(output: Any) -> tuple[str, int, int] | None:
    """Layout of a layer's output for one picture, how many tokens come before those of places, and the map's side;
    None if it has no places."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[0] != 1:
        return None
    if output.ndim == 4:
        dim_1, dim_2, dim_3 = output.shape[1:]
        if dim_2 == dim_3 > 1:
            return "chw", 0, dim_2
        return ("hwc", 0, dim_1) if dim_1 == dim_2 > 1 else None
    if output.ndim == 3:
        token_count = output.shape[1]
        grid_size = math.isqrt(token_count)
        if grid_size > 1 and token_count - grid_size * grid_size <= 16:
            return "tokens", token_count - grid_size * grid_size, grid_size
    return None


def informative_layers(module: nn.Module, image: Tensor, layers: Sequence[CamLayer]) -> list[CamLayer]:
    """Those of some layers on which the features of a picture depend by places, in the order in which they are done."""
    outputs: dict[str, Tensor] = {}
    layer_by_path = {layer.path: layer for layer in layers}

    def replace_output(path: str, output: Tensor) -> Tensor:
        outputs.pop(path, None)
        outputs[path] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[path].clone()  # later layers may work in place

    with torch.enable_grad():
        features = run_with_hooks(module, image, layer_by_path, replace_output)
    return list(_filter_informative(features, [layer_by_path[path] for path in outputs], outputs))


def _filter_informative(features: Tensor, layers: list[CamLayer], outputs: dict[str, Tensor]) -> Iterator[CamLayer]:
    """The map of a random mixture of features is not the same everywhere."""
    mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).to(features.device)
    activations = [outputs[layer.path] for layer in layers]
    gradients = torch.autograd.grad((features * mixture).sum(), activations, allow_unused=True) if activations else ()
    for layer, output, output_grad in zip(layers, activations, gradients, strict=True):
        if output_grad is None:
            continue
        activation, gradient = (
            to_feature_map(x.detach(), layer.layout, layer.num_prefix_tokens) for x in (output, output_grad)
        )
        evidence = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(0)
        if evidence.isfinite().all() and float(evidence.max() - evidence.min()) > 1e-4 * float(evidence.abs().max()):
            yield layer
