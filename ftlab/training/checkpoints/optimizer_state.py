"""State of an optimizer as tensors and plain numbers, for a checkpoint without pickle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ftlab.models import run_checkpoint


def pack_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as tensors, and its plain numbers; learning rates are functions of the step."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for key, value in _iter_state_entries(optimizer):
        if isinstance(value, Tensor):
            tensors[f"optimizer.{key}"] = value
        else:
            scalars[key] = value
    return tensors, scalars


def _iter_state_entries(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    """Yield each value of an optimizer's state as `(parameter number.name, value)`."""
    for index, values in optimizer.state_dict()["state"].items():
        yield from ((f"{index}.{name}", value) for name, value in values.items())


def unpack_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """Load into an optimizer what `pack_optimizer` returned.

    Args:
        optimizer: of the same kind, over the same parameters.
        tensors: all tensors of a checkpoint.
        scalars: plain numbers.
    """
    entries = run_checkpoint.select_by_prefix("optimizer.", tensors) | scalars
    state: dict[int, dict[str, Any]] = {}
    for key, value in entries.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # Files are contiguous, and fused optimizers take for granted that each state has the memory layout of its
    # parameter, which may be channels-last.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
