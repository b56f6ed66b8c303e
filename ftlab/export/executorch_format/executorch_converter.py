"""Conversion to ExecuTorch, run in a process of its own: `python -m … network.pt2 model.json model.pte`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower


def convert_program(program_path: Path, description_path: Path, model_path: Path) -> None:
    """Lower a program to XNNPACK, what XNNPACK lacks to ExecuTorch's portable kernels, and write it.

    Args:
        program_path: program of `torch.export` for one image.
        description_path: `model.json`, which becomes the constant method `ftlab`.
        model_path: file to write, `.pte`.
    """
    program = torch.export.load(program_path)
    description = description_path.read_text(encoding="utf-8").strip()
    edge_program = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], constant_methods={"ftlab": description}
    )
    edge_program.to_executorch().save(str(model_path))


if __name__ == "__main__":
    convert_program(*map(Path, sys.argv[1:4]))
