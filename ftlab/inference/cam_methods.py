"""Class activation maps: four methods, each from one forward pass and one backward pass that ends at the target layer.

    grad_cam     Selvaraju et al., 2017, "Grad-CAM", arXiv:1610.02391, equations 1 and 2 (page 5)
    grad_cam_pp  Chattopadhay et al., 2018, "Grad-CAM++", arXiv:1710.11063, equations 10 and 19
    hires_cam    Draelos & Carin, 2020, "Use HiResCAM instead of Grad-CAM", arXiv:2011.08891, equation 5
    layer_cam    Jiang et al., 2021, "LayerCAM", IEEE TIP 30, equations 5 and 6 (doi:10.1109/TIP.2021.3089943)

The tests compare each with the package `grad-cam` on every backbone: at most 1e-4 apart, both scaled to [0, 1].
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
"""Added to the denominator of Grad-CAM++, as in the package `grad-cam`: gradients far below 1e-3 hardly count."""
_RELATIVE_ROUNDING_ERROR = 1e-5
"""Share of the summed absolute terms below which a sum is float32 rounding, and no evidence."""


def compute_cam(
    net: Network,
    spec: BackboneSpec,
    image: Tensor,
    class_index: int | None = None,
    method: str = "grad_cam",
    cam_layer: CamLayer | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the logits of an image and the activation map of one class.

    Args:
        net: a network of `spec`; its training flags, gradients and hooks are left as they were.
        spec: of the backbone; names the default target layer.
        image: float32 [1, 3, S, S], normalized, on the network's device.
        class_index: of the class; None selects the one with the largest logit.
        method: one of `cam_options.CAM_METHODS`.
        cam_layer: the target layer; None selects that of `spec`.

    Returns:
        Logits, float32 [K], and the map before the ReLU, float32 [h, w]: positive where there is evidence for the
        class, in units of logit times activation; [0, 0] for an architecture without a target layer.
    """
    target_layer = cam_layer or CamLayer.from_spec(spec)
    activations: list[Tensor] = []

    def capture_activation(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # Detached here: frozen parameters leave no graph, and no layer below needs a gradient. The network continues
        # with a copy, because later layers may work in place.
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
        # The caller may be in inference mode, whose tensors can take no part in a backward pass.
        with torch.inference_mode(False), torch.enable_grad():
            logits = net(image)[0]
            target_index = int(logits.argmax()) if class_index is None else class_index
            # `autograd.grad` and not `backward()`, which would add to the `.grad` of parameters.
            logit_gradient = torch.autograd.grad(logits[target_index], activations[-1])[0] if hook_handle else None
    finally:
        if hook_handle:
            hook_handle.remove()
        for module, training in training_flags.items():
            module.training = training
    if logit_gradient is None:
        return logits.detach().float(), torch.zeros(0, 0)
    # Maps are float32 whatever the precision of the pass: thousands of products of either sign are summed.
    activation, gradient = (
        to_feature_map(x.detach().float(), target_layer.layout, target_layer.num_prefix_tokens)
        for x in (activations[-1], logit_gradient)
    )
    return logits.detach().float(), weight_activation(activation, gradient, method)


def weight_activation(activation: Tensor, gradient: Tensor, method: str) -> Tensor:
    """Compute the activation map of one class from a layer's output and its gradient.

    The map is all zero if the channels cancel out but for rounding. That is so below a normalization, which removes the
    length of its input: the gradient is orthogonal to the input, and HiResCAM would show noise.

    Args:
        activation: output of the target layer, float32 [C, h, w].
        gradient: of the class's logit with respect to it, float32 [C, h, w].
        method: one of `cam_options.CAM_METHODS`; another one gives KeyError.

    Returns:
        The map before the ReLU, float32 [h, w].
    """
    terms = _CHANNEL_WEIGHTS[method](activation, gradient) * activation
    class_map = terms.sum(0)
    rounding_error = _RELATIVE_ROUNDING_ERROR * float(terms.abs().sum(0).max())
    return class_map if float(class_map.abs().max()) > rounding_error else torch.zeros_like(class_map)


def _grad_cam_pp_weights(activation: Tensor, gradient: Tensor) -> Tensor:
    """Compute the channel weights of Grad-CAM++, float32 [C, 1, 1].

    Each position counts by alpha of equation 19, in which the derivatives of exp(logit) are powers of the gradient.

    Args:
        activation: float32 [C, h, w].
        gradient: float32 [C, h, w].

    Returns:
        The weights.
    """
    squared_gradient = gradient**2
    denominator = (
        2 * squared_gradient
        + activation.sum(dim=(1, 2), keepdim=True) * squared_gradient * gradient
        + _GRAD_CAM_PP_EPSILON
    )
    alpha = torch.where(denominator != 0, squared_gradient / denominator, 0.0)
    return (alpha * gradient.clamp(min=0)).sum(dim=(1, 2), keepdim=True)


_CHANNEL_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": lambda _activation, gradient: gradient.mean(dim=(1, 2), keepdim=True),
    "grad_cam_pp": _grad_cam_pp_weights,
    "hires_cam": lambda _activation, gradient: gradient,
    "layer_cam": lambda _activation, gradient: gradient.clamp(min=0),
}
"""Weights of a layer's output by method: (activation, gradient), each float32 [C, h, w] -> [C, 1, 1] or [C, h, w]."""
