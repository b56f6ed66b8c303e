"""Networks in float64, for which ftlab has no setting: sums in another order then differ by nothing that counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from ftlab.models import network

VARIABLE = "FTLAB_TEST_FLOAT64"
"""Environment variable that tells the ranks of a test to train so."""


def train_in_double(set_attribute: Callable[[object, str, Any], None] = setattr) -> None:
    """Build all networks in float64, and let them take the float32 images of ftlab."""
    build = network.build_network

    @wraps(build)
    def build_double(*arguments: Any, **options: Any) -> network.Network:
        net = build(*arguments, **options).double()
        net.register_forward_pre_hook(_to_double)
        return net

    set_attribute(network, "build_network", build_double)


def _to_double(_module: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.double() for tensor in inputs)
