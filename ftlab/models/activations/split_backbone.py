"""Split of a backbone into the part that is never trained and the part above it.

The frozen part gives the same activations for the same image all through a training: they can be computed once, and
each step then runs only what lies above. The boundary is found in the graph of the forward pass (torch.fx): an
operation belongs to the upper part if it uses a trainable parameter, or a result of one that does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from ftlab.models.activations.boundary_values import (
    BATCH_SIZE,
    PROBE_COUNTS,
    SplitError,
    describe_crossing,
    make_noise,
    remove_unused_nodes,
    run_in_eval,
    run_nodes,
)
from ftlab.models.network import Network

_MAX_RELATIVE_ERROR = 1e-4
"""Largest allowed difference between the features of both parts in turn and those of the backbone, relative to the
largest of them."""
_MAP_DIMENSIONS = 3
"""Channels, height and width of one image's feature maps."""


class _BoundaryTracer(fx.Tracer):
    """Tracer that follows only modules of which a part is trained; all others are single operations.

    They run by their own code, with their own training flags, however that code is written.
    """

    def __init__(self, trainable_names: Collection[str]) -> None:
        """Store the names of the trainable parameters."""
        super().__init__()
        self._trainable_names = trainable_names

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module becomes one node of the graph.

        Args:
            m: the module; both names are those of `fx.Tracer`.
            module_qualified_name: its path.

        Returns:
            False for a module of which some parameters are trained and others not.
        """
        trained = {f"{module_qualified_name}.{name}" in self._trainable_names for name, _ in m.named_parameters()}
        return len(trained) < 2


@dataclass(frozen=True)
class BackboneSplit:
    """The two parts of a backbone, as graphs that run on its modules.

    Attributes:
        lower_graph: images, float32 [B, 3, S, S] -> activations, float32 [B, L].
        upper_graph: activations, float32 [B, L] -> what the backbone returns.
        row_length: L, values of one image over all tensors that cross the boundary.
        module_path: path of the first module above the boundary.
    """

    lower_graph: fx.Graph
    upper_graph: fx.Graph
    row_length: int
    module_path: str

    def bind_lower(self, backbone: nn.Module) -> nn.Module:
        """Return the frozen part, which shares the modules of a backbone."""
        return fx.GraphModule(backbone, self.lower_graph, "LowerPart")

    def bind_upper(self, net: Network) -> nn.Module:
        """Return the part of a network above the boundary: activations, float32 [B, L] -> logits, as the network's.

        It shares the network's modules, so that what one learns the other knows.
        """
        upper_net = Network(fx.GraphModule(net.backbone, self.upper_graph, "UpperPart"), net.head, net.auxiliary)
        upper_net.uses_auxiliary = net.uses_auxiliary
        return upper_net

    def hash_lower(self, hash_parameters: Callable[[nn.Module], str], backbone: nn.Module) -> str:
        """Return the SHA-256, in hex, of all that the activations of an image depend on in a backbone.

        Args:
            hash_parameters: hashes parameters and buffers of a module.
            backbone: the backbone.
        """
        code = self.lower_graph.python_code("self").src
        return hashlib.sha256(f"{code}/{hash_parameters(self.bind_lower(backbone))}".encode()).hexdigest()


def split_backbone(backbone: nn.Module, trainable_names: Collection[str], image_size: int) -> BackboneSplit:
    """Split a backbone at the boundary of what is trained.

    Args:
        backbone: float32 [B, 3, S, S] -> [B, D]; its modules are as they are for training, and stay so.
        trainable_names: parameters that are trained at any time.
        image_size: S, in pixels.

    Returns:
        The split.

    Raises:
        SplitError: the forward pass cannot be traced, no part of it is frozen, or something crosses the boundary that
            is no activation of one image.
    """
    try:
        graph = _BoundaryTracer(frozenset(trainable_names)).trace(backbone)
    # Code that branches on values of its input fails in the way of whatever function gets a placeholder.
    except Exception as cause:
        raise SplitError(f"its forward pass cannot be traced: {cause}") from cause
    image_nodes, trained_nodes = _mark_nodes(graph, backbone, frozenset(trainable_names))
    boundary_nodes = [
        node
        for node in graph.nodes
        if node in image_nodes and node not in trained_nodes and any(user in trained_nodes for user in node.users)
    ]
    if not trainable_names:
        raise SplitError("no part of it is trained")
    if any(node.op == "placeholder" for node in boundary_nodes):
        raise SplitError("no part of it is frozen")
    probes = [run_nodes(graph, backbone, boundary_nodes, count, image_size) for count in PROBE_COUNTS]
    crossing_values = {node: describe_crossing(*(probe[node] for probe in probes)) for node in boundary_nodes}
    tensor_shapes = {node: value for node, value in crossing_values.items() if isinstance(value, torch.Size)}
    first_trained = next(node for node in graph.nodes if node in trained_nodes)
    split = BackboneSplit(
        _build_lower_graph(graph, trained_nodes, list(tensor_shapes)),
        _build_upper_graph(graph, image_nodes, trained_nodes, crossing_values, _choose_memory_format(backbone)),
        sum(prod(shape) for shape in tensor_shapes.values()),
        str(first_trained.target),
    )
    _check_split(split, backbone, image_size)
    return split


def _mark_nodes(
    graph: fx.Graph, backbone: nn.Module, trainable_names: frozenset[str]
) -> tuple[set[fx.Node], set[fx.Node]]:
    """Return the nodes whose values depend on the image, and those whose values depend on trained parameters too."""
    image_nodes: set[fx.Node] = set()
    trained_nodes: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in image_nodes for source in node.all_input_nodes):
            image_nodes.add(node)
        if (
            _uses_trained_parameter(node, backbone, trainable_names)
            or node.op == "output"
            or any(source in trained_nodes for source in node.all_input_nodes)
        ):
            trained_nodes.add(node)
    return image_nodes, trained_nodes


def _uses_trained_parameter(node: fx.Node, backbone: nn.Module, trainable_names: frozenset[str]) -> bool:
    """Return whether a node runs a module with trained parameters, or reads one."""
    target = str(node.target)
    if node.op == "get_attr":
        return target in trainable_names
    if node.op != "call_module":
        return False
    return any(f"{target}.{name}" in trainable_names for name, _ in backbone.get_submodule(target).named_parameters())


def _build_lower_graph(graph: fx.Graph, trained_nodes: set[fx.Node], boundary_nodes: list[fx.Node]) -> fx.Graph:
    """Build the graph of the frozen part, whose output joins the tensors of the boundary, float32 [B, L].

    Args:
        graph: of the whole forward pass.
        trained_nodes: nodes of the upper part.
        boundary_nodes: whose tensors cross the boundary.

    Returns:
        The graph.
    """
    lower_graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node not in trained_nodes:
            copies[node] = lower_graph.node_copy(node, copies.__getitem__)
    rows = [lower_graph.call_method("flatten", (copies[node], 1)) for node in boundary_nodes]
    joined = rows[0] if len(rows) == 1 else lower_graph.call_function(torch.cat, (rows,), {"dim": 1})
    lower_graph.output(joined)
    remove_unused_nodes(lower_graph)
    return lower_graph


def _build_upper_graph(
    graph: fx.Graph,
    image_nodes: set[fx.Node],
    trained_nodes: set[fx.Node],
    crossing_values: Mapping[fx.Node, Any],
    memory_format: torch.memory_format,
) -> fx.Graph:
    """Build the graph of the part above the boundary.

    Args:
        graph: of the whole forward pass.
        image_nodes: nodes that depend on the image.
        trained_nodes: nodes of the upper part.
        crossing_values: what crosses the boundary, as `describe_crossing` returns it.
        memory_format: of the activations of a convolution.

    Returns:
        The graph: activations, float32 [B, L] -> what the backbone returns.
    """
    upper_graph = fx.Graph()
    activations = upper_graph.placeholder("activations")
    batch_size = upper_graph.call_method("size", (activations, 0))
    copies: dict[fx.Node, Any] = {}
    offset = 0

    def resolve(value: Any) -> Any:
        return tuple(map(resolve, value)) if isinstance(value, tuple) else batch_size if value is BATCH_SIZE else value

    for node, value in crossing_values.items():
        if not isinstance(value, torch.Size):
            copies[node] = resolve(value)
            continue
        length = prod(value)
        row = upper_graph.call_method("narrow", (activations, 1, offset, length))
        copies[node] = upper_graph.call_method("unflatten", (row, 1, tuple(value)))
        if len(value) == _MAP_DIMENSIONS:
            options: dict[str, Any] = {"memory_format": memory_format}
            copies[node] = upper_graph.call_method("contiguous", (copies[node],), options)
        offset += length
    for node in graph.nodes:
        # What does not depend on the image, such as an embedding of positions, is computed in either part.
        if node not in copies and (node in trained_nodes or node not in image_nodes):
            copies[node] = _copy_node(upper_graph, node, copies)
    remove_unused_nodes(upper_graph)
    return upper_graph


def _choose_memory_format(backbone: nn.Module) -> torch.memory_format:
    """Return the memory format of a backbone's convolutions; the default one for a transformer, which has one."""
    weights = [module.weight for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    is_last = [
        weight.is_contiguous(memory_format=torch.channels_last) for weight in weights if weight[0, 0].numel() > 1
    ]
    return torch.channels_last if len(is_last) > 1 and all(is_last) else torch.contiguous_format


def _copy_node(target_graph: fx.Graph, node: fx.Node, copies: Mapping[fx.Node, Any]) -> fx.Node:
    """Return a copy of a node whose arguments may have become constants, which `Graph.node_copy` does not allow."""
    args = fx.node.map_arg(node.args, copies.__getitem__)
    kwargs = fx.node.map_arg(node.kwargs, copies.__getitem__)
    return target_graph.create_node(node.op, node.target, args, kwargs)


def _check_split(split: BackboneSplit, backbone: nn.Module, image_size: int) -> None:
    """Check that both parts in turn give the backbone's features.

    Raises:
        SplitError: they do not, for the code of the backbone does something that its graph does not show.
    """
    images = make_noise(backbone, 1, image_size)
    expected = run_in_eval(backbone, images)
    activations = run_in_eval(split.bind_lower(backbone), images)
    actual = run_in_eval(fx.GraphModule(backbone, split.upper_graph), activations)
    if not isinstance(actual, Tensor) or not torch.allclose(
        actual, expected, rtol=0, atol=_MAX_RELATIVE_ERROR * float(expected.abs().max())
    ):
        raise SplitError("its parts do not give the features of the whole")
