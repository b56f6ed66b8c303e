"""The optimizers compute what PyTorch's do, and import no compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ftlab.training.optim.eager_optimizers import EagerAdam, EagerAdamW, EagerSGD

PAIRS = [
    (EagerSGD, SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (EagerAdam, Adam, {"lr": 0.1, "weight_decay": 0.1}),
    (EagerAdamW, AdamW, {"lr": 0.1, "weight_decay": 0.1}), (EagerAdamW, AdamW, {"lr": 0.1, "fused": True}),
]  # fmt: skip


def take_steps(kind: type[Optimizer], options: dict[str, Any]) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Take three steps, the last one by an optimizer that has loaded the state of the others."""
    generator = torch.Generator().manual_seed(0)
    layers = [nn.Parameter(torch.randn(4, 3, generator=generator)), nn.Parameter(torch.randn(4, generator=generator))]
    groups = [{"params": [layer], "weight_decay": 0.1 * number} for number, layer in enumerate(layers)]
    optimizer = kind(groups, **options)
    for step in range(3):
        for layer in layers:
            layer.grad = torch.randn(layer.shape, generator=generator)
        if step == 2:
            state, optimizer = optimizer.state_dict(), kind(groups, **options)
            optimizer.load_state_dict(state)
        optimizer.step()
    return [layer.detach() for layer in layers], optimizer.state_dict()


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_steps_and_state_are_bit_identical_to_pytorchs(
    ours: type[Optimizer], theirs: type[Optimizer], options: dict[str, Any]
) -> None:
    own_layers, own_state = take_steps(ours, options)
    layers, state = take_steps(theirs, options)
    assert all(torch.equal(own, other) for own, other in zip(own_layers, layers, strict=True))
    assert own_state["param_groups"] == state["param_groups"]
    for number, values in state["state"].items():
        for name, value in values.items():
            assert torch.equal(torch.as_tensor(own_state["state"][number][name]), torch.as_tensor(value))


def test_a_closure_computes_gradients_and_its_loss_is_returned() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = EagerSGD([weight], lr=0.5)

    def compute_loss() -> torch.Tensor:
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(compute_loss).item() == 2.0
    assert torch.equal(weight.detach(), torch.zeros(2))
    assert torch.is_grad_enabled()


def test_the_compiler_is_not_imported() -> None:
    code = """
import sys, torch
from ftlab.training.optim.eager_optimizers import EagerAdam, EagerAdamW, EagerSGD
from ftlab.training.optim.keras_rmsprop import KerasRMSprop
for kind in (EagerSGD, EagerAdam, EagerAdamW, KerasRMSprop):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = kind([weight], lr=0.1)
    weight.grad = torch.ones(2)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
