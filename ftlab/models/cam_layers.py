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

from ftlab.config.backbones import Backbone
from ftlab.models import blocks
from ftlab.models.activation_layout import as_map
from ftlab.models.network import Network

Take = Callable[[str, Any], Tensor | None]
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish)


@dataclass(frozen=True)
class Layer:
    """One whose output tells places apart.

    Attributes:
        path: in the backbone; empty: there is none.
        layout: `chw`, `hwc` or `tokens`, as in a backbone's row.
        tokens: those that stand for no place and come first.
        side: of its map, in places; 0 where it is not known.
    """

    path: str
    layout: str
    tokens: int
    side: int = 0

    @classmethod
    def of(cls, row: Backbone) -> Layer:
        """The one that a row names."""
        return cls(row.cam, row.cam_layout, row.cam_tokens)


def candidates(net: Network, row: Backbone) -> tuple[Layer, ...]:
    """Layers worth a look, from the pixels up: the row's own, the blocks and what holds several, and, where no blocks
    are, activations and poolings. None twice under two names, and none whose map would be empty whatever the picture.

    The network is left as found. It goes through it twice, and back once.
    """
    if not row.cam:
        return ()
    flags = {module: module.training for module in net.modules()}
    backbone = net.backbone.eval()
    try:
        with torch.inference_mode(False):
            picture = _tried(net, row)
            with torch.no_grad():
                told, seen = _outputs(backbone, picture)
            chosen = _chosen(backbone, row, told, seen)
            found = differing(backbone, picture, chosen)
    finally:
        for module, training in flags.items():
            module.training = training
    return tuple(layer for layer in chosen if layer in found or layer.path == row.cam)


def every(net: Network, row: Backbone) -> tuple[Layer, ...]:
    """All layers that tell places apart, in the order in which they are done. The network is left as found."""
    flags = {module: module.training for module in net.modules()}
    backbone = net.backbone.eval()
    try:
        with torch.no_grad():
            return tuple(_outputs(backbone, _tried(net, row))[0])
    finally:
        for module, training in flags.items():
            module.training = training


def _tried(net: Network, row: Backbone) -> Tensor:
    return patches(row.side)[:1].to(next(net.parameters()).device)


def _outputs(backbone: nn.Module, picture: Tensor) -> tuple[list[Layer], dict[str, int]]:
    """Layers that tell places apart, in the order in which they are done; and which tensor each gave, as a number:
    what works in place, and what holds it, give the same one."""
    told: list[Layer] = []
    given: dict[str, Tensor] = {}

    def note(path: str, output: Any) -> None:
        list_layer(told, path, output)
        if isinstance(output, Tensor):
            given[path] = output  # kept, so that no other gets its number

    run(backbone, picture, None, note)
    return told, {path: id(tensor) for path, tensor in given.items()}


def _chosen(backbone: nn.Module, row: Backbone, told: list[Layer], seen: dict[str, int]) -> list[Layer]:
    deepest = blocks.depth(backbone)
    names: dict[int, Layer] = {}
    for layer in told:
        known = names.get(seen[layer.path])
        # The shortest name of a tensor; of two as short, what worked on it last. A row's own name outdoes all.
        shorter = known is None or layer.path.count(".") <= known.path.count(".")
        if layer.path == row.cam or (shorter and not (known and known.path == row.cam)):
            names.pop(seen[layer.path], None)
            names[seen[layer.path]] = layer
    return [
        layer
        for layer in names.values()
        if layer.path == row.cam or (layer.path.count(".") < deepest and _done(backbone.get_submodule(layer.path)))
    ]


def _done(part: nn.Module) -> bool:
    """Whether what comes out is complete: of a block, of an activation, of a pooling. What a bare convolution or a
    normalisation gives is still to be worked on."""
    holds = any(True for _ in part.children())
    return holds or isinstance(part, _ACTIVATIONS) or type(part).__module__.endswith(".pooling")


def patches(side: int) -> Tensor:
    """Two pictures to try a network with, float32 [2, 3, side, side]: patches of one colour, for noise is the same
    all over to a layer that looks at much of it."""
    return F.interpolate(2 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), side, mode="bilinear")


def run(module: nn.Module, picture: Tensor, only: Container[str] | None, take: Take) -> Any:
    """Let a picture through, and `take` what comes out of each layer, in order; of `only` these if they are named. What
    it gives back goes on instead."""
    handles = [
        part.register_forward_hook(lambda _m, _i, output, path=path: take(path, output))
        for path, part in module.named_modules()
        # Inside of attention, and at its gates, values are mixed anew: what differs there is no feature of a place.
        if path and not isinstance(part, nn.Identity) and "att" not in path and "qkv" not in path
        if only is None or path in only
    ]
    try:
        return module(picture)
    finally:
        for handle in handles:
            handle.remove()


def list_layer(layers: list[Layer], path: str, output: Any) -> None:
    """Add a layer by what came out of it, if that tells places apart; one that runs twice stands where it ran last."""
    layers[:] = [layer for layer in layers if layer.path != path]
    found = form(output)
    if found is not None:
        layers.append(Layer(path, *found))


def form(output: Any) -> tuple[str, int, int] | None:
    """Layout of a layer's output for one picture, how many tokens come before those of places, and the map's side;
    None if it has no places."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[0] != 1:
        return None
    if output.ndim == 4:
        a, b, c = output.shape[1:]
        if b == c > 1:
            return "chw", 0, b
        return ("hwc", 0, a) if a == b > 1 else None
    if output.ndim == 3:
        count = output.shape[1]
        side = math.isqrt(count)
        if side > 1 and count - side * side <= 16:
            return "tokens", count - side * side, side
    return None


def differing(module: nn.Module, picture: Tensor, layers: Sequence[Layer]) -> list[Layer]:
    """Those of some layers on which the features of a picture depend by places, in the order in which they are done."""
    outputs: dict[str, Tensor] = {}
    named = {layer.path: layer for layer in layers}

    def keep(path: str, output: Tensor) -> Tensor:
        outputs.pop(path, None)
        outputs[path] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[path].clone()  # later layers may work in place

    with torch.enable_grad():
        features = run(module, picture, named, keep)
    return list(_mapped(features, [named[path] for path in outputs], outputs))


def _mapped(features: Tensor, layers: list[Layer], outputs: dict[str, Tensor]) -> Iterator[Layer]:
    """The map of a random mixture of features is not the same everywhere."""
    mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).to(features.device)
    kept = [outputs[layer.path] for layer in layers]
    slopes = torch.autograd.grad((features * mixture).sum(), kept, allow_unused=True) if kept else ()
    for layer, output, slope in zip(layers, kept, slopes, strict=True):
        if slope is None:
            continue
        activation, gradient = (as_map(x.detach(), layer.layout, layer.tokens) for x in (output, slope))
        evidence = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(0)
        if evidence.isfinite().all() and float(evidence.max() - evidence.min()) > 1e-4 * float(evidence.abs().max()):
            yield layer
