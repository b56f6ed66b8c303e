"""The layers of a network as a table: kind, output shape, parameters, trainable parameters.

Computed on torch's meta device, with shapes and without numbers, so that it takes a second and no memory; with random
weights for a model whose code needs numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.models import network
from ftlab.models.network import Network

TABLE_ROW_LIMITS = (40, 60)
"""Rows that a person likes to read, and rows still readable: the depth is chosen to give no more."""


@dataclass(frozen=True)
class LayerSummary:
    """A row of the table: a layer, or several layers together.

    Attributes:
        name: path within the network; the backbone's layers go without `backbone`.
        kind: name of its class.
        shape: of its output at the backbone's input size, without the batch; empty if it returns none in evaluation.
        parameters: number of parameters of it and its children; shared ones count where they come first.
        trainable: how many of these the mode trains.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int


def summarize_layers(spec: BackboneSpec, num_classes: int, mode: str, depth: int | None = None) -> list[LayerSummary]:
    """Summarize the layers of a backbone with a new head, in the order of registration.

    The parameters of the rows add up to the network's.

    Args:
        spec: of the backbone.
        num_classes: K of the head.
        mode: decides what is trainable.
        depth: how far to descend into modules: 1 gives the backbone's direct children; None goes as far as
            `TABLE_ROW_LIMITS` allows.

    Returns:
        The rows.
    """
    net, shapes = _build_with_shapes(spec, num_classes)
    network.freeze_by_mode(net, mode)
    if depth is None:
        # Deepest first: the most detailed table within the first limit, else within the second.
        row_counts = {
            table_depth: len(list(_iter_table_parts(net, table_depth)))
            for table_depth in range(_measure_depth(net.backbone), 1, -1)
        }
        depth = next(
            (
                table_depth
                for row_limit in TABLE_ROW_LIMITS
                for table_depth, row_count in row_counts.items()
                if row_count <= row_limit
            ),
            1,
        )
    counted_parameters: set[nn.Parameter] = set()
    return [_summarize_layer(name, part, shapes, counted_parameters) for name, part in _iter_table_parts(net, depth)]


def _build_with_shapes(spec: BackboneSpec, num_classes: int) -> tuple[Network, dict[nn.Module, tuple[int, ...]]]:
    try:
        # Modules that are built under it allocate nothing.
        with torch.device("meta"):
            net = network.build_network(spec, num_classes, pretrained=False)
            return net, _trace_output_shapes(net, spec.side)
    except (RuntimeError, NotImplementedError):  # the model's code reads values, and meta tensors have none
        net = network.build_network(spec, num_classes, pretrained=False)
        return net, _trace_output_shapes(net, spec.side)


def _trace_output_shapes(net: Network, image_size: int) -> dict[nn.Module, tuple[int, ...]]:
    """Run a forward pass of a black image and record the output shapes.

    Args:
        net: on any device, `meta` included.
        image_size: pixels of the input's side.

    Returns:
        Shape of each module's output, without the batch.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def record_shape(module: nn.Module, _inputs: Any, output: Any) -> None:
        # Recurrent and attention modules return a tuple, their result first.
        first_output = output[0] if isinstance(output, (tuple, list)) and output else output
        if isinstance(first_output, Tensor):
            shapes[module] = tuple(first_output.shape[1:])

    handles = [submodule.register_forward_hook(record_shape) for submodule in net.modules()]
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _iter_table_parts(net: Network, depth: int) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield name and part of each row at a depth: modules, and parameters of modules that have children too."""
    yield from _iter_nested_parts(net.backbone, "", depth)
    yield "head", net.head
    yield from ((f"auxiliary.{number}", part) for number, part in enumerate(net.auxiliary))


def _iter_nested_parts(module: nn.Module, path: str, depth: int) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    is_leaf = not any(True for _ in module.children())
    if not depth or is_leaf:
        if not (
            isinstance(module, nn.Identity) or (is_leaf and isinstance(module, nn.Sequential))
        ):  # skip identity shortcuts
            yield path, module
        return
    prefix = f"{path}." if path else ""
    yield from ((prefix + name, parameter) for name, parameter in module.named_parameters(recurse=False))
    for name, part in module.named_children():
        yield from _iter_nested_parts(part, prefix + name, depth - 1)


def _summarize_layer(
    name: str,
    part: nn.Module | nn.Parameter,
    shapes: dict[nn.Module, tuple[int, ...]],
    counted_parameters: set[nn.Parameter],
) -> LayerSummary:
    """Summarize a row.

    Args:
        name: of the row.
        part: module or parameter.
        shapes: output shapes by module.
        counted_parameters: parameters of the rows above, which are not counted again; this row's are added.

    Returns:
        The row.
    """
    own_parameters = {part} if isinstance(part, nn.Parameter) else set(part.parameters())
    own_parameters -= counted_parameters
    counted_parameters |= own_parameters
    return LayerSummary(
        name,
        type(part).__name__,
        tuple(part.shape) if isinstance(part, nn.Parameter) else shapes.get(part, ()),
        sum(p.numel() for p in own_parameters),
        sum(p.numel() for p in own_parameters if p.requires_grad),
    )


def _measure_depth(module: nn.Module) -> int:
    """Return how deep the modules are nested."""
    return max((name.count(".") + 1 for name, _ in module.named_modules() if name), default=1)
