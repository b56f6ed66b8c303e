"""What crosses the boundary between the two parts of a backbone: activations of each image, or the same for all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

PROBE_COUNTS = (2, 3)
"""Images of two forward passes: a number that is the same in both does not depend on the batch."""


class SplitError(Exception):
    """The backbone cannot be split; the message is for logs."""


class _BatchSize:
    """Stands for the number of images in a batch."""


BATCH_SIZE = _BatchSize()


def run_nodes(
    graph: fx.Graph, backbone: nn.Module, nodes: list[fx.Node], image_count: int, image_size: int
) -> dict[fx.Node, Any]:
    """Return the values of nodes for noise, in evaluation mode.

    Args:
        graph: of the whole forward pass.
        backbone: its modules.
        nodes: those asked for.
        image_count: B.
        image_size: S, in pixels.
    """
    probe_graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "output":
            copies[node] = probe_graph.node_copy(node, copies.__getitem__)
    probe_graph.output([copies[node] for node in nodes])
    remove_unused_nodes(probe_graph)
    values = run_in_eval(fx.GraphModule(backbone, probe_graph), make_noise(backbone, image_count, image_size))
    return dict(zip(nodes, values, strict=True))


def describe_crossing(small: Any, large: Any) -> torch.Size | Any:
    """Describe a value that crosses the boundary, by its values for two and for three images.

    Args:
        small: value for the smaller batch.
        large: value for the larger one.

    Returns:
        The shape of one image's activations as `torch.Size`; for a value that does not depend on the images the value
        itself; `BATCH_SIZE` for the number of images.

    Raises:
        SplitError: it is none of these.
    """
    if isinstance(small, Tensor):
        image_counts = small.shape[:1] + large.shape[:1]  # empty for a scalar
        if not small.is_floating_point() or image_counts != PROBE_COUNTS or small.shape[1:] != large.shape[1:]:
            raise SplitError(f"a tensor {tuple(small.shape)} of {small.dtype} is no activation of one image each")
        return small.shape[1:]
    is_sequence = isinstance(small, (tuple, list)) and len(small) == len(large)
    if is_sequence and not any(isinstance(value, Tensor) for value in small):
        return tuple(describe_crossing(*pair) for pair in zip(small, large, strict=True))
    if isinstance(small, (int, float, str, torch.dtype, torch.device, type(None))):
        if small == large:
            return small
        if (small, large) == PROBE_COUNTS:
            return BATCH_SIZE
    raise SplitError(f"a {type(small).__name__} depends on the images")


def remove_unused_nodes(graph: fx.Graph) -> None:
    """Remove the nodes whose values nobody uses, assertions about shapes among them."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def run_in_eval(module: nn.Module, inputs: Tensor) -> Any:
    """Return a module's output in evaluation mode, without gradients; its training flags stay as they were."""
    training_flags = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            return module(inputs)
    finally:
        for submodule, training_flag in training_flags:
            submodule.training = training_flag


def make_noise(backbone: nn.Module, image_count: int, image_size: int) -> Tensor:
    """Return noise, float32 [B, 3, S, S], where the backbone is; the same each time."""
    generator = torch.Generator().manual_seed(0)
    device = next(backbone.parameters()).device
    return torch.randn(image_count, 3, image_size, image_size, generator=generator).to(device)
