"""Search for the tensors in the contents of a checkpoint, and checks of their values. torch is imported when used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.core.errors import WeightsError
from ftlab.models.pretrained.inert_pickle import StandIn

if TYPE_CHECKING:
    from torch import Tensor

_MAX_DEPTH = 5
"""Levels of nested dictionaries, more than any checkpoint has: a dictionary may contain itself."""
_NUMBER_TYPE = re.compile(r"[iuf][1248]|b1")
"""NumPy's codes of types that torch has too."""


def find_tensors(root: Any) -> list[tuple[str, Tensor, str]]:
    """Find the tensors in a checkpoint.

    Args:
        root: contents of the file.

    Returns:
        Name, tensor and prefix of its container, of all tensors in nested dictionaries with string keys; in a list or
        tuple at the top, the positions are the keys. Only without any, lists further down and NumPy arrays count too.
    """
    top = _number_items(root) if isinstance(root, (list, tuple)) else root
    return [*_iter_tensors(top, accepts_all=False)] or [*_iter_tensors(top, accepts_all=True)]


def holds_optimizer(root: Any) -> bool:
    """Return whether contents without weights are the state of an optimizer, or have it in an entry."""
    nodes = [root, *(root.values() if isinstance(root, Mapping) else ())]
    return any(isinstance(node, Mapping) and {"state", "param_groups"} <= {*node} for node in nodes)


def check_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that no network can be initialized with.

    Args:
        file: named in the error.
        tensors: by name.

    Raises:
        WeightsError: a tensor has no values, or is sparse or quantized.
    """
    import torch

    empty_names = [name for name, tensor in tensors.items() if tensor.is_meta]
    if empty_names:
        raise WeightsError("init.no_values", file=file, count=len(empty_names), name=empty_names[0])
    for name, tensor in tensors.items():
        if tensor.is_quantized or tensor.layout != torch.strided:
            kind = "quantized" if tensor.is_quantized else "sparse"
            raise WeightsError(f"init.{kind}", file=file, name=name)


def list_nonfinite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors with a value that is NaN or infinite."""
    import torch

    # 8-bit floats have no test of their own.
    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
        and not tensor.is_meta
        and not torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float()).all()
    ]


def _iter_tensors(
    node: Any, *, accepts_all: bool, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Tensor, str]]:
    """Yield name, tensor and container of the tensors in nested dictionaries.

    Args:
        node: a dictionary; anything else has none.
        accepts_all: enter lists and tuples too, and convert NumPy arrays.
        prefix: of the names.
        depth: of the nesting.

    Yields:
        As `find_tensors` returns them.
    """
    from torch import Tensor

    if accepts_all and isinstance(node, (list, tuple)):
        node = _number_items(node)
    if not isinstance(node, Mapping) or depth > _MAX_DEPTH:
        return
    for key, value in node.items():
        if not isinstance(key, str):
            continue
        tensor = _convert_array(value) if accepts_all and isinstance(value, StandIn) else value
        if isinstance(tensor, Tensor):
            yield f"{prefix}{key}", tensor, prefix
        else:
            yield from _iter_tensors(value, accepts_all=accepts_all, prefix=f"{prefix}{key}.", depth=depth + 1)


def _number_items(items: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    """Return items by their positions, without tensors: these have no names here."""
    return {str(position): item for position, item in enumerate(items) if isinstance(item, (Mapping, list, tuple))}


def _convert_array(stand_in: StandIn) -> Tensor | None:
    """Return the tensor of a pickled NumPy array of numbers; None for anything else, or one whose bytes do not fit."""
    import numpy as np
    import torch

    state = stand_in.state
    if not type(stand_in).global_name.endswith("multiarray._reconstruct"):
        return None
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[4], bytes):
        return None
    _, shape, dtype, is_fortran_order, data = state
    code = dtype.arguments[0] if isinstance(dtype, StandIn) and dtype.arguments else ""
    if not isinstance(code, str) or not _NUMBER_TYPE.fullmatch(code) or not isinstance(shape, tuple):
        return None
    byte_order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    try:
        values = np.frombuffer(data, np.dtype(f">{code}" if byte_order == ">" else f"<{code}"))
        array = values.reshape(shape, order="F" if is_fortran_order else "C")
        return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))).reshape(shape)
    except (TypeError, ValueError):
        return None
