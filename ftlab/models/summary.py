"""The layers of a network as a table: what each is, what comes out of it, how many parameters, how many of them learn.

Computed with shapes alone, without the numbers (torch's meta device), so that it takes a second and no memory; with
random numbers where a model's code needs some.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.config.backbones import Backbone
from ftlab.models import network
from ftlab.models.network import Network

ROWS = (40, 60)
"""Rows that a person likes to read, and still reads: the depth that is chosen for them gives no more."""


@dataclass(frozen=True)
class Layer:
    """A layer, or several taken together.

    Attributes:
        name: its path in the network; the backbone's layers go without `backbone`.
        kind: its class.
        shape: of its output at the backbone's side, without the batch; empty where it gives none in evaluation.
        parameters: of it and all within; those that several share stand with the first.
        trainable: those of them that the mode trains.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int


def table(row: Backbone, classes: int, mode: str, depth: int | None = None) -> list[Layer]:
    """The layers of a row's network, in the order in which the source lists them; their parameters add up to the
    network's.

    Args:
        classes: K of the head.
        mode: decides what is trainable.
        depth: how far to go into layers that hold others: 1 gives the backbone's own children; None goes as far
            as `ROWS` allows.
    """
    net, shapes = _shapes(row, classes)
    network.freeze(net, mode)
    if depth is None:
        counts = {one: len(list(_parts(net, one))) for one in range(_depth(net.backbone), 1, -1)}
        depth = next((one for limit in ROWS for one, count in counts.items() if count <= limit), 1)
    told: set[nn.Parameter] = set()
    return [_layer(name, part, shapes, told) for name, part in _parts(net, depth)]


def _shapes(row: Backbone, classes: int) -> tuple[Network, dict[nn.Module, tuple[int, ...]]]:
    try:
        with torch.device("meta"):
            net = network.build(row, classes, pretrained=False)
            return net, _passed(net, row.side)
    except (RuntimeError, NotImplementedError):  # code that looks at numbers: there are none
        net = network.build(row, classes, pretrained=False)
        return net, _passed(net, row.side)


def _passed(net: Network, side: int) -> dict[nn.Module, tuple[int, ...]]:
    """Let a picture through; the shape of each module's output."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) and output else output
        if isinstance(first, Tensor):
            shapes[module] = tuple(first.shape[1:])

    handles = [part.register_forward_hook(note) for part in net.modules()]
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _parts(net: Network, depth: int) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """What a table of that depth lists: modules, and parameters that a module holds beside its own modules."""
    yield from _within(net.backbone, "", depth)
    yield "head", net.head
    yield from ((f"auxiliary.{number}", part) for number, part in enumerate(net.auxiliary))


def _within(module: nn.Module, path: str, depth: int) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    empty = not any(True for _ in module.children())
    if not depth or empty:
        if not (isinstance(module, nn.Identity) or (empty and isinstance(module, nn.Sequential))):  # a way past
            yield path, module
        return
    prefix = f"{path}." if path else ""
    yield from ((prefix + name, parameter) for name, parameter in module.named_parameters(recurse=False))
    for name, part in module.named_children():
        yield from _within(part, prefix + name, depth - 1)


def _layer(
    name: str,
    part: nn.Module | nn.Parameter,
    shapes: dict[nn.Module, tuple[int, ...]],
    told: set[nn.Parameter],
) -> Layer:
    """`told`: parameters of the rows above; one that several layers share counts where it comes first."""
    own = {part} if isinstance(part, nn.Parameter) else set(part.parameters())
    own -= told
    told |= own
    return Layer(
        name,
        type(part).__name__,
        tuple(part.shape) if isinstance(part, nn.Parameter) else shapes.get(part, ()),
        sum(p.numel() for p in own),
        sum(p.numel() for p in own if p.requires_grad),
    )


def _depth(module: nn.Module) -> int:
    """How deep its modules lie within each other."""
    return max((name.count(".") + 1 for name, _ in module.named_modules() if name), default=1)
