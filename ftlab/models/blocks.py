"""A backbone from below to above: its blocks, and what of it a person means by a name or a share of its layers.

The order is that in which the source registers its modules, which is that of the computation in every backbone of the
table; what lies beside the main path (auxiliary classifiers) comes where the source has it.
"""

from __future__ import annotations

from torch import nn

_ENOUGH = 8
"""Blocks that are fine enough to tell depths apart: ResNet-18 has ten, ViT-B/16 thirteen."""


def blocks(backbone: nn.Module) -> list[list[str]]:
    """Names of the backbone's parameters by block, the first block nearest to the pixels.

    A block is a module as deep in the source's tree as gives about `_ENOUGH` of them: a residual block, a transformer
    layer, a stage. A normalisation, or a parameter that stands alone, belongs to the block before it.
    """
    return _finest(backbone)[0]


def depth(backbone: nn.Module) -> int:
    """How many parts the path of a block has at most: 2 for `layer4.1`."""
    return _finest(backbone)[1]


def _finest(backbone: nn.Module) -> tuple[list[list[str]], int]:
    names = [name for name, _ in backbone.named_parameters()]
    deepest = max((name.count(".") for name in names), default=0)
    cuts = [(_cut(backbone, names, level), level) for level in range(1, max(1, deepest) + 1)]
    return next((cut for cut in cuts if len(cut[0]) >= _ENOUGH), max(cuts, key=lambda cut: len(cut[0])))


def _cut(backbone: nn.Module, names: list[str], depth: int) -> list[list[str]]:
    by_module: dict[str, list[str]] = {}
    for name in names:
        path = name.split(".")[:-1]
        home = backbone.get_submodule(".".join(path))
        alone = len(path) < depth and any(any(True for _ in one.parameters()) for one in home.children())
        by_module.setdefault("" if alone else ".".join(path[:depth]), []).append(name)
    made: list[list[str]] = []
    waiting: list[str] = []
    for home_path, inside in by_module.items():
        if home_path and any(backbone.get_parameter(name).ndim > 1 for name in inside):
            made.append(waiting + inside)
            waiting = []
        elif made:
            made[-1] += inside
        else:
            waiting = waiting + inside
    return made or [waiting]


def title(block: list[str]) -> str:
    """The path that the parameters of a block have in common; that of its first layer where there is none."""
    paths = [name.split(".")[:-1] for name in block]
    common = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
    return ".".join(common or paths[0])
