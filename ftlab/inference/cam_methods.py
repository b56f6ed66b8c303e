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

from ftlab.config.backbones import BackboneSpec
from ftlab.models.activation_layout import to_feature_map
from ftlab.models.cam_layers import CamLayer
from ftlab.models.network import Network

_GRAD_CAM_PP_EPSILON = 1e-6
"""Added to the denominator of Grad-CAM++ as in the package grad-cam: gradients far below 1e-3 weigh next to nothing."""
_RELATIVE_ROUNDING_ERROR = 1e-5
"""Of the sum of what is added up without its signs: less is no evidence in float32."""


def compute_cam(
    net: Network,
    spec: BackboneSpec,
    image: Tensor,
    class_index: int | None = None,
    method: str = "grad_cam",
    cam_layer: CamLayer | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits and the class's map from one forward pass and a backward pass that ends at the map's layer.

    Args:
        net: a network of `spec`, left as found: training flags, gradients, hooks.
        image: float32 [1, 3, side, side], normalised, on the network's device.
        class_index: of the class; None takes the one with the largest logit.
        method: one of `how.METHODS`.
        cam_layer: whose output is weighed; None takes the row's own.

    Returns:
        Logits, float32 [K], and the map before the ReLU, float32 [h, w]: positive where there is evidence for the
        class, in units of the logit times the activation. Where there is no layer for it: [0, 0].
    """
    target_layer = cam_layer or CamLayer.from_spec(spec)
    activations: list[Tensor] = []

    def capture_activation(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # Cut here: frozen parameters leave no graph, and nothing below this layer needs a gradient. What goes on is
        # a copy, because later layers may work in place.
        activations.append(output.detach().requires_grad_())
        return activations[-1].clone()

    training_flags = {module: module.training for module in net.modules()}
    net.eval()
    hook_handle = (
        net.backbone.get_submodule(target_layer.path).register_forward_hook(capture_activation)
        if target_layer.path
        else None
    )
    try:
        with torch.inference_mode(False), torch.enable_grad():
            logits = net(image)[0]
            target_index = int(logits.argmax()) if class_index is None else class_index
            logit_gradient = torch.autograd.grad(logits[target_index], activations[-1])[0] if hook_handle else None
    finally:
        if hook_handle:
            hook_handle.remove()
        for module, training in training_flags.items():
            module.training = training
    if logit_gradient is None:
        return logits.detach().float(), torch.zeros(0, 0)
    activation, gradient = (
        to_feature_map(x.detach().float(), target_layer.layout, target_layer.num_prefix_tokens)
        for x in (activations[-1], logit_gradient)
    )
    return logits.detach().float(), weight_activation(activation, gradient, method)


def weight_activation(activation: Tensor, gradient: Tensor, method: str) -> Tensor:
    """A class's map before the ReLU, float32 [h, w], from a layer's output and the gradient of the class's logit with
    respect to it, each float32 [C, h, w].

    All zero where the channels cancel out but for rounding: below a normalisation, which takes away the length of
    what it reads, the gradient is at right angles to it, and HiResCAM would show noise.

    Raises:
        KeyError: there is no such method.
    """
    terms = _CHANNEL_WEIGHTS[method](activation, gradient) * activation
    class_map = terms.sum(0)
    rounding_error = _RELATIVE_ROUNDING_ERROR * float(terms.abs().sum(0).max())
    return class_map if float(class_map.abs().max()) > rounding_error else torch.zeros_like(class_map)


def _grad_cam_pp_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """Each place counts by alpha of equation 19, in which the derivatives of exp(logit) are powers of the gradient."""
    squared_gradient = gradient**2
    denominator = (
        2 * squared_gradient
        + activation.sum(dim=(1, 2), keepdim=True) * squared_gradient * gradient
        + _GRAD_CAM_PP_EPSILON
    )
    alpha = torch.where(denominator != 0, squared_gradient / denominator, 0.0)
    return (alpha * gradient.clamp(min=0)).sum(dim=(1, 2), keepdim=True)


_CHANNEL_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": lambda activation, gradient: gradient.mean(dim=(1, 2), keepdim=True),
    "grad_cam_pp": _grad_cam_pp_weights,
    "hires_cam": lambda activation, gradient: gradient,
    "layer_cam": lambda activation, gradient: gradient.clamp(min=0),
}
"""What each value of a layer's output, float32 [C, h, w], is weighed with: a number a channel, or one a place too."""
