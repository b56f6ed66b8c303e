"""RMSprop as Keras has it, which is not torch's: epsilon stands below the root.

With small gradients the two differ by orders of magnitude: of a gradient g that stays, Keras makes steps of
g / sqrt(g² + 1e-7), torch of g / (|g| + 1e-7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class KerasRMSprop(Optimizer):
    """v ← ρ v + (1 - ρ) g²; w ← w - lr g / sqrt(v + ε), after w ← w (1 - lr · decay).

    Hinton, 2012, lecture 6 of "Neural Networks for Machine Learning"; the place of ε and the decay, which is no part of
    the gradient, as in Keras (`keras.optimizers.RMSprop`), without momentum as there by default.
    """

    def __init__(self, params: Any, lr: float = 1e-3, rho: float = 0.9, eps: float = 1e-7, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. `closure` is evaluated first, as torch's optimizers do."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not self.state[parameter]:
                    self.state[parameter]["velocity"] = torch.zeros_like(parameter)
                velocity = self.state[parameter]["velocity"]
                velocity.mul_(group["rho"]).addcmul_(parameter.grad, parameter.grad, value=1 - group["rho"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.addcdiv_(parameter.grad, (velocity + group["eps"]).sqrt_(), value=-group["lr"])
        return loss
