"""Layers usable for Grad-CAM: outputs with a spatial grid, whose gradients vary over it.

They are found by a forward pass of a probe image and a backward pass.
"""

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
"""Called with the path and the output of a layer; a tensor that it returns replaces the output."""
_ACTIVATION_TYPES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish)
"""Modules whose output is a finished feature, though they have no children."""


@dataclass(frozen=True)
class CamLayer:
    """A layer whose output has a spatial grid.

    Attributes:
        path: within the backbone; empty if the architecture has no such layer.
        layout: `chw`, `hwc` or `tokens`, as in `BackboneSpec.cam_layout`.
        num_prefix_tokens: number of tokens without a position that come first.
        grid_size: rows, and columns, of the grid; 0 if unknown.
    """

    path: str
    layout: str
    num_prefix_tokens: int
    grid_size: int = 0

    @classmethod
    def from_spec(cls, spec: BackboneSpec) -> CamLayer:
        """Return the default target layer of a backbone."""
        return cls(spec.cam, spec.cam_layout, spec.cam_tokens)


def find_candidate_layers(net: Network, spec: BackboneSpec) -> tuple[CamLayer, ...]:
    """Find the layers to offer as Grad-CAM targets, from input to output.

    These are the default layer, blocks and their containers, and, for a backbone without blocks, activations and
    poolings. No output is listed under two names, and no layer whose map would be empty for every image. Takes two
    forward passes and one backward pass; the network is left as it was.

    Args:
        net: a network of `spec`.
        spec: of the backbone.

    Returns:
        The layers; none if the spec names no default layer.
    """
    if not spec.cam:
        return ()
    training_flags = {module: module.training for module in net.modules()}
    backbone = net.backbone.eval()
    try:
        with torch.inference_mode(False):  # its tensors can take no part in a backward pass
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
    """Find all layers whose output has a spatial grid. The network is left as it was.

    Args:
        net: a network of `spec`.
        spec: of the backbone.

    Returns:
        The layers in the order of execution.
    """
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
    """Run a forward pass and record the layers with a spatial grid.

    Args:
        backbone: in evaluation mode.
        image: float32 [1, 3, S, S].

    Returns:
        The layers in the order of execution, and the identity of each layer's output tensor by path: an in-place module
        and its container return the same tensor.
    """
    spatial_layers: list[CamLayer] = []
    output_tensors: dict[str, Tensor] = {}

    def record_output(path: str, output: Any) -> None:
        record_spatial_layer(spatial_layers, path, output)
        if isinstance(output, Tensor):
            output_tensors[path] = output  # kept alive, so that no later tensor gets the same id

    run_with_hooks(backbone, image, None, record_output)
    return spatial_layers, {path: id(tensor) for path, tensor in output_tensors.items()}


def _select_candidates(
    backbone: nn.Module, spec: BackboneSpec, spatial_layers: list[CamLayer], tensor_ids: dict[str, int]
) -> list[CamLayer]:
    max_depth = blocks.find_block_depth(backbone)
    layer_by_tensor: dict[int, CamLayer] = {}
    for layer in spatial_layers:
        current_layer = layer_by_tensor.get(tensor_ids[layer.path])
        # The shortest path to a tensor; of two equally short ones, the later module. The default layer has precedence.
        is_shorter = current_layer is None or layer.path.count(".") <= current_layer.path.count(".")
        if layer.path == spec.cam or (is_shorter and not (current_layer and current_layer.path == spec.cam)):
            # Removed first, so that the dict keeps the order in which the layers were executed.
            layer_by_tensor.pop(tensor_ids[layer.path], None)
            layer_by_tensor[tensor_ids[layer.path]] = layer
    return [
        layer
        for layer in layer_by_tensor.values()
        if layer.path == spec.cam
        # Layers inside a block are left out: there would be hundreds.
        or (layer.path.count(".") < max_depth and _is_complete_output(backbone.get_submodule(layer.path)))
    ]


def _is_complete_output(module: nn.Module) -> bool:
    """Return whether a module's output is a finished feature: that of a block, an activation or a pooling.

    The output of a bare convolution or normalization is still to be processed.
    """
    has_children = any(True for _ in module.children())
    return has_children or isinstance(module, _ACTIVATION_TYPES) or type(module).__module__.endswith(".pooling")


def make_probe_images(image_size: int) -> Tensor:
    """Make two images to probe a network with, float32 [2, 3, S, S], normalized.

    Returns:
        Patches of one colour each: noise looks alike everywhere to a layer with a large receptive field.
    """
    return F.interpolate(
        2 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), image_size, mode="bilinear"
    )


def run_with_hooks(module: nn.Module, image: Tensor, only_paths: Container[str] | None, hook: OutputHook) -> Any:
    """Run a forward pass, and call a hook with each layer's output in the order of execution.

    Args:
        module: a backbone.
        image: float32 [1, 3, S, S].
        only_paths: the layers to hook; None hooks all.
        hook: see `OutputHook`.

    Returns:
        The module's output.
    """
    handles = [
        submodule.register_forward_hook(lambda _m, _i, output, path=path: hook(path, output))
        for path, submodule in module.named_modules()
        # Inside attention, and at its gates, values are mixed over positions: what varies there is no local feature.
        if path and not isinstance(submodule, nn.Identity) and "att" not in path and "qkv" not in path
        if only_paths is None or path in only_paths
    ]
    try:
        return module(image)
    finally:
        for handle in handles:
            handle.remove()


def record_spatial_layer(layers: list[CamLayer], path: str, output: Any) -> None:
    """Append a layer to `layers` if its output has a spatial grid.

    A layer that runs twice is listed where it ran last.

    Args:
        layers: so far; changed in place.
        path: of the layer.
        output: of the layer.
    """
    # Changed in place, because the caller's hook holds the list.
    layers[:] = [layer for layer in layers if layer.path != path]
    layout = infer_layout(output)
    if layout is not None:
        layers.append(CamLayer(path, *layout))


def infer_layout(output: Any) -> tuple[str, int, int] | None:
    """Infer the layout of a layer's output for one image from its shape.

    Args:
        output: of the layer, of any type.

    Returns:
        Layout, number of prefix tokens and grid size; None if the output has no spatial grid.
    """
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
        # Up to 16 tokens without a position: a class token, a distillation token, registers.
        if grid_size > 1 and token_count - grid_size * grid_size <= 16:
            return "tokens", token_count - grid_size * grid_size, grid_size
    return None


def informative_layers(module: nn.Module, image: Tensor, layers: Sequence[CamLayer]) -> list[CamLayer]:
    """Select the layers whose Grad-CAM map varies over the image.

    Args:
        module: a backbone in evaluation mode.
        image: float32 [1, 3, S, S].
        layers: candidates.

    Returns:
        Those selected, in the order of execution.
    """
    outputs: dict[str, Tensor] = {}
    layer_by_path = {layer.path: layer for layer in layers}

    def replace_output(path: str, output: Tensor) -> Tensor:
        outputs.pop(path, None)  # a layer that runs twice moves to where it ran last
        # A frozen network has no graph: it begins at the first of the layers.
        outputs[path] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[path].clone()  # later layers may work in place

    with torch.enable_grad():
        features = run_with_hooks(module, image, layer_by_path, replace_output)
    return list(_filter_informative(features, [layer_by_path[path] for path in outputs], outputs))


def _filter_informative(features: Tensor, layers: list[CamLayer], outputs: dict[str, Tensor]) -> Iterator[CamLayer]:
    """Keep layers whose map is not constant, for a random linear combination of the features in place of a logit.

    Args:
        features: output of the backbone, float32 [1, D].
        layers: candidates.
        outputs: of the candidates, by path.

    Yields:
        The layers kept.
    """
    # Seeded, and drawn on the CPU: the same layers are found each time and on every device.
    mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).to(features.device)
    activations = [outputs[layer.path] for layer in layers]
    gradients = torch.autograd.grad((features * mixture).sum(), activations, allow_unused=True) if activations else ()
    for layer, output, output_grad in zip(layers, activations, gradients, strict=True):
        if output_grad is None:  # the features do not depend on it
            continue
        activation, gradient = (
            to_feature_map(x.detach(), layer.layout, layer.num_prefix_tokens) for x in (output, output_grad)
        )
        # Variation below 1e-4 of the largest value counts as rounding of a constant map.
        evidence = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(0)
        if evidence.isfinite().all() and float(evidence.max() - evidence.min()) > 1e-4 * float(evidence.abs().max()):
            yield layer
