"""RMSprop as Keras has it, by its formula and by the example of its documentation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ftlab.training.optim.keras_rmsprop import KerasRMSprop


def test_the_example_of_keras_documentation() -> None:
    weight = nn.Parameter(torch.tensor([10.0]))
    (weight**2 / 2).sum().backward()
    KerasRMSprop([weight], lr=0.1).step()
    assert float(weight.detach()) == pytest.approx(9.683772, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_it_is_the_published_formula_step_by_step(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    optimizer = KerasRMSprop([weight], lr=0.01, rho=0.9, eps=1e-7, weight_decay=0.1)
    expected, velocity = start.clone(), torch.zeros(5, dtype=torch.float64)
    for _ in range(4):
        gradient = scale * torch.randn(5, generator=generator, dtype=torch.float64)
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + 0.1 * gradient**2
        expected = expected - 0.01 * 0.1 * expected - 0.01 * gradient / (velocity + 1e-7) ** 0.5
        assert torch.allclose(weight.detach(), expected, rtol=1e-12)


def test_epsilon_stands_below_the_root_unlike_torchs() -> None:
    mine, torchs = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    for weight, optimizer in (
        (mine, KerasRMSprop([mine], lr=1.0)),
        (torchs, torch.optim.RMSprop([torchs], lr=1.0, alpha=0.9, eps=1e-7)),
    ):
        weight.grad = torch.full((1,), 1e-5)
        optimizer.step()
    assert float(mine.detach()) == pytest.approx(-0.0316, abs=1e-3)
    assert float(torchs.detach()) == pytest.approx(-3.06, abs=0.1)


def test_what_has_no_gradient_stays_without_a_state() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = KerasRMSprop([weight], weight_decay=0.5)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert torch.equal(weight.detach(), torch.ones(2))
    assert not optimizer.state_dict()["state"]
