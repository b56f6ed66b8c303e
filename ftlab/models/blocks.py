"""A backbone from below to above: its blocks, and what of it a person means by a name or a share of its layers.

The order is that in which the source registers its modules, which is that of the computation in every backbone of the
table; what lies beside the main path (auxiliary classifiers) comes where the source has it.
"""

from __future__ import annotations

from torch import nn

_MIN_BLOCK_COUNT = 8
"""Blocks that are fine enough to tell depths apart: ResNet-18 has ten, ViT-B/16 thirteen."""


def split_into_blocks(backbone: nn.Module) -> list[list[str]]:
    """Names of the backbone's parameters by block, the first block nearest to the pixels.

    A block is a module as deep in the source's tree as gives about `_MIN_BLOCK_COUNT` of them: a residual block, a transformer
    layer, a stage. A normalisation, or a parameter that stands alone, belongs to the block before it.
    """
    return _choose_block_level(backbone)[0]


def find_block_depth(backbone: nn.Module) -> int:
    """How many parts the path of a block has at most: 2 for `layer4.1`."""
    return _choose_block_level(backbone)[1]


def _choose_block_level(backbone: nn.Module) -> tuple[list[list[str]], int]:
    names = [name for name, _ in backbone.named_parameters()]
    max_depth = max((name.count(".") for name in names), default=0)
    levels = [(_split_at_depth(backbone, names, depth), depth) for depth in range(1, max(1, max_depth) + 1)]
    return next(
        (blocks_and_depth for blocks_and_depth in levels if len(blocks_and_depth[0]) >= _MIN_BLOCK_COUNT),
        max(levels, key=lambda blocks_and_depth: len(blocks_and_depth[0])),
    )


def _split_at_depth(backbone: nn.Module, names: list[str], depth: int) -> list[list[str]]:
    names_by_module: dict[str, list[str]] = {}
    for name in names:
        path = name.split(".")[:-1]
        parent_module = backbone.get_submodule(".".join(path))
        stands_alone = len(path) < depth and any(
            any(True for _ in child.parameters()) for child in parent_module.children()
        )
        names_by_module.setdefault("" if stands_alone else ".".join(path[:depth]), []).append(name)
    block_names: list[list[str]] = []
    leading_names: list[str] = []
    for module_path, module_names in names_by_module.items():
        if module_path and any(backbone.get_parameter(name).ndim > 1 for name in module_names):
            block_names.append(leading_names + module_names)
            leading_names = []
        elif block_names:
            block_names[-1] += module_names
        else:
            leading_names = leading_names + module_names
    return block_names or [leading_names]


def get_block_path(block: list[str]) -> str:
    """The path that the parameters of a block have in common; that of its first layer where there is none."""
    paths = [name.split(".")[:-1] for name in block]
    common_parts = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
    return ".".join(common_parts or paths[0])
