"""Where in a picture the evidence for a class lies: four methods, all from one forward pass and one backward pass that
ends at the layer looked at.

    grad_cam     Selvaraju et al., 2017, "Grad-CAM", arXiv:1610.02391, equations 1 and 2 (page 5)
    grad_cam_pp  Chattopadhay et al., 2018, "Grad-CAM++", arXiv:1710.11063, equations 10 and 19
    hires_cam    Draelos & Carin, 2020, "Use HiResCAM instead of Grad-CAM", arXiv:2011.08891, equation 5
    layer_cam    Jiang et al., 2021, "LayerCAM", IEEE TIP 30, equations 5 and 6 (doi:10.1109/TIP.2021.3089943)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ftlab.config.backbones import Backbone
from ftlab.models.activation_layout import as_map
from ftlab.models.cam_layers import Layer
from ftlab.models.network import Network

_SMALL = 1e-6
"""Added to the denominator of Grad-CAM++ as in the package grad-cam: gradients far below 1e-3 weigh next to nothing."""
_ROUNDING = 1e-5
"""Of the sum of what is added up without its signs: less is no evidence in float32."""


def attribute(
    net: Network,
    row: Backbone,
    picture: Tensor,
    index: int | None = None,
    method: str = "grad_cam",
    layer: Layer | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits and the class's map from one forward pass and a backward pass that ends at the map's layer.

    Args:
        net: a network of `row`, left as found: training flags, gradients, hooks.
        picture: float32 [1, 3, side, side], normalised, on the network's device.
        index: of the class; None takes the one with the largest logit.
        method: one of `how.METHODS`.
        layer: whose output is weighed; None takes the row's own.

    Returns:
        Logits, float32 [K], and the map before the ReLU, float32 [h, w]: positive where there is evidence for the
        class, in units of the logit times the activation. Where there is no layer for it: [0, 0].
    """
    looked = layer or Layer.of(row)
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # Cut here: frozen parameters leave no graph, and nothing below this layer needs a gradient. What goes on is
        # a copy, because later layers may work in place.
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    flags = {module: module.training for module in net.modules()}
    net.eval()
    handle = net.backbone.get_submodule(looked.path).register_forward_hook(keep) if looked.path else None
    try:
        with torch.inference_mode(False), torch.enable_grad():
            logits = net(picture)[0]
            chosen = int(logits.argmax()) if index is None else index
            slope = torch.autograd.grad(logits[chosen], kept[-1])[0] if handle else None
    finally:
        if handle:
            handle.remove()
        for module, training in flags.items():
            module.training = training
    if slope is None:
        return logits.detach().float(), torch.zeros(0, 0)
    activation, gradient = (as_map(x.detach().float(), looked.layout, looked.tokens) for x in (kept[-1], slope))
    return logits.detach().float(), weigh(activation, gradient, method)


def weigh(activation: Tensor, gradient: Tensor, method: str) -> Tensor:
    """A class's map before the ReLU, float32 [h, w], from a layer's output and the gradient of the class's logit with
    respect to it, each float32 [C, h, w].

    All zero where the channels cancel out but for rounding: below a normalisation, which takes away the length of
    what it reads, the gradient is at right angles to it, and HiResCAM would show noise.

    Raises:
        KeyError: there is no such method.
    """
    terms = _WEIGHTS[method](activation, gradient) * activation
    found = terms.sum(0)
    rounding = _ROUNDING * float(terms.abs().sum(0).max())
    return found if float(found.abs().max()) > rounding else torch.zeros_like(found)


def _plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Each place counts by alpha of equation 19, in which the derivatives of exp(logit) are powers of the gradient."""
    square = gradient**2
    below = 2 * square + activation.sum(dim=(1, 2), keepdim=True) * square * gradient + _SMALL
    alpha = torch.where(below != 0, square / below, 0.0)
    return (alpha * gradient.clamp(min=0)).sum(dim=(1, 2), keepdim=True)


_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": lambda activation, gradient: gradient.mean(dim=(1, 2), keepdim=True),
    "grad_cam_pp": _plus_plus,
    "hires_cam": lambda activation, gradient: gradient,
    "layer_cam": lambda activation, gradient: gradient.clamp(min=0),
}
"""What each value of a layer's output, float32 [C, h, w], is weighed with: a number a channel, or one a place too."""
