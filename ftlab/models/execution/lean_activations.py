"""Training forward pass on a CPU in which activation functions copy nothing.

A ReLU6 that works in place clones its input first, because PyTorch's backward pass of it reads the input; so do SiLU
and Hardswish. The gradient of ReLU6 can be computed from its output instead (Rota Bulò et al., 2018, "In-Place
Activated BatchNorm", CVPR), and the others need no copy where they do not overwrite their input. Values, gradients and
module names stay as they are, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_COPYING_TYPES: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.SiLU: functional.silu,
    nn.Hardswish: functional.hardswish,
    nn.Mish: functional.mish,
}
"""Activation modules whose in-place form clones the input, and the function that keeps the input instead."""


class OutputReLU6(torch.autograd.Function):
    """ReLU6 whose backward pass reads the output: 0 < output < 6 exactly where 0 < input < 6."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, in_place: bool) -> Tensor:  # noqa: FBT001 (autograd passes by position)
        """Return the inputs limited to [0, 6], of any shape; in their own memory if `in_place`."""
        if in_place:
            ctx.mark_dirty(inputs)
        output = functional.hardtanh(inputs, 0.0, 6.0, inplace=in_place)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by the inputs: that of the output where it was not limited, else 0."""
        (output,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(output_gradients[0], output, 0.0, 6.0), None


def run_training_forward(module: nn.Module, inputs: Tensor) -> Any:
    """Call a module; on a CPU in float32, without the copies of in-place activation functions.

    The modules have another `forward` during the call only. Those that save, export, trace or explain the network
    never see it.

    Args:
        module: the module to train.
        inputs: images or activations [B, C, H, W], or features [B, D], which go through few activations.

    Returns:
        The module's output.
    """
    if inputs.ndim < 4 or inputs.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return module(inputs)
    # A module with a `forward` of its own is somebody else's to change.
    changed_modules = [
        (submodule, forward)
        for submodule in module.modules()
        if "forward" not in vars(submodule) and (forward := _get_lean_forward(submodule))
    ]
    for submodule, forward in changed_modules:
        submodule.forward = forward
    try:
        return module(inputs)
    finally:
        for submodule, _ in changed_modules:
            del submodule.forward


def _get_lean_forward(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return a `forward` with the same result that copies nothing; None where the module's own copies nothing."""
    # Exact types: a subclass may compute something else.
    if type(module) is nn.ReLU6:
        return _run_relu6_in_place if module.inplace else _run_relu6
    works_in_place = getattr(module, "inplace", False)
    return _COPYING_TYPES.get(type(module)) if works_in_place else None


def _run_relu6(inputs: Tensor) -> Tensor:
    if not _is_recorded(inputs):
        return functional.relu6(inputs)
    output: Tensor = OutputReLU6.apply(inputs, False)
    return output


def _run_relu6_in_place(inputs: Tensor) -> Tensor:
    # A change of a view is a change of the whole tensor, which PyTorch's own function records.
    if not _is_recorded(inputs) or inputs._is_view():
        return functional.relu6(inputs, inplace=True)
    output: Tensor = OutputReLU6.apply(inputs, True)
    return output


def _is_recorded(inputs: Tensor) -> bool:
    """Return whether autograd will need the gradient by these inputs."""
    return inputs.requires_grad and torch.is_grad_enabled()
