"""Division of a backbone into blocks, from input to output.

The order is that in which the library registers the modules, which is the order of computation for every backbone in
`config/backbones.toml`; side branches (auxiliary classifiers) come where the library registers them.
"""

from __future__ import annotations

from torch import nn

_MIN_BLOCK_COUNT = 8
"""Blocks that are enough for a schedule over depth: ResNet-18 has ten, ViT-B/16 thirteen."""


def split_into_blocks(backbone: nn.Module) -> list[list[str]]:
    """Split the backbone's parameters into blocks.

    A block is a module at the depth of the module tree that gives at least `_MIN_BLOCK_COUNT` of them: a residual
    block, a transformer layer, a stage. A normalization, or a parameter without a module of its own, belongs to the
    block before it.

    Args:
        backbone: of the network.

    Returns:
        Names of parameters by block, the block nearest to the input first.
    """
    return _choose_block_level(backbone)[0]


def find_block_depth(backbone: nn.Module) -> int:
    """Return how many parts the path of a block has at most: 2 for `layer4.1`."""
    return _choose_block_level(backbone)[1]


def _choose_block_level(backbone: nn.Module) -> tuple[list[list[str]], int]:
    names = [name for name, _ in backbone.named_parameters()]
    max_depth = max((name.count(".") for name in names), default=0)
    # From coarse to fine: the first level with enough blocks, else the one with most.
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
        # A parameter of a module that has child modules too, such as a class token or a position embedding.
        stands_alone = len(path) < depth and any(
            any(True for _ in child.parameters()) for child in parent_module.children()
        )
        names_by_module.setdefault("" if stands_alone else ".".join(path[:depth]), []).append(name)
    block_names: list[list[str]] = []
    leading_names: list[str] = []
    for module_path, module_names in names_by_module.items():
        # Only a module with a weight matrix or kernel starts a block: normalizations have vectors.
        if module_path and any(backbone.get_parameter(name).ndim > 1 for name in module_names):
            block_names.append(leading_names + module_names)
            leading_names = []
        elif block_names:
            block_names[-1] += module_names
        else:
            # Nothing precedes it: it joins the first block.
            leading_names = leading_names + module_names
    return block_names or [leading_names]


def get_block_path(block: list[str]) -> str:
    """Return the path that the parameters of a block have in common; that of its first layer if they have none."""
    paths = [name.split(".")[:-1] for name in block]
    common_parts = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
    return ".".join(common_parts or paths[0])
