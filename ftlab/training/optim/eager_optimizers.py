"""PyTorch's optimizers without their wrappers for `torch.compile`, which no training of ours compiles.

Each wrapped method imports the compiler when it is first called, which takes a second. `functools.wraps` keeps the
function within; a version of PyTorch without a wrapper gives its own method.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer


class EagerOptimizer(Optimizer):
    """Base of optimizers whose methods are called without `torch.compile`'s wrappers."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, see `torch.optim.Optimizer.add_param_group`."""
        inspect.unwrap(super().add_param_group)(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, see `torch.optim.Optimizer.state_dict`."""
        state: dict[str, Any] = inspect.unwrap(super().state_dict)(self)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, see `torch.optim.Optimizer.load_state_dict`."""
        inspect.unwrap(super().load_state_dict)(self, state_dict)


class _EagerStep(EagerOptimizer):
    """Base of optimizers whose `step` is wrapped too."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters; the wrapper that is left out disables gradients, too.

        Args:
            closure: computes loss and gradients, and is called first.

        Returns:
            The loss of the closure.
        """
        with torch.no_grad():
            return inspect.unwrap(super().step)(self, closure)


class EagerSGD(_EagerStep, SGD):
    """`torch.optim.SGD`."""


class EagerAdam(_EagerStep, Adam):
    """`torch.optim.Adam`."""


class EagerAdamW(_EagerStep, AdamW):
    """`torch.optim.AdamW`."""
