"""RMSprop as Keras defines it, with epsilon under the square root, unlike PyTorch's.

With small gradients the two differ by orders of magnitude: for a constant gradient g Keras takes steps of
g / sqrt(g² + 1e-7), PyTorch of g / (|g| + 1e-7), each times the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ftlab.training.optim.eager_optimizers import EagerOptimizer


class KerasRMSprop(EagerOptimizer):
    """RMSprop optimizer: v ← ρ v + (1 - ρ) g²; w ← w - lr g / sqrt(v + ε), after w ← w (1 - lr · decay).

    Hinton, 2012, lecture 6 of "Neural Networks for Machine Learning". The place of ε and the decoupled weight decay are
    those of Keras (`keras.optimizers.RMSprop`); there is no momentum, as by default there.
    """

    def __init__(self, params: Any, lr: float = 1e-3, rho: float = 0.9, eps: float = 1e-7, weight_decay: float = 0.0):
        """Create the optimizer.

        Args:
            params: parameters or parameter groups.
            lr: learning rate.
            rho: decay ρ of the mean squared gradient.
            eps: ε.
            weight_decay: decoupled weight decay, multiplied by the learning rate.
        """
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters.

        Args:
            closure: computes loss and gradients, and is called first, as by PyTorch's optimizers.

        Returns:
            The loss of the closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                # Created at the first gradient: parameters that are unfrozen later begin here too.
                if not self.state[parameter]:
                    self.state[parameter]["velocity"] = torch.zeros_like(parameter)
                velocity = self.state[parameter]["velocity"]
                velocity.mul_(group["rho"]).addcmul_(parameter.grad, parameter.grad, value=1 - group["rho"])
                # Decoupled weight decay: it does not enter the mean squared gradient.
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.addcdiv_(parameter.grad, (velocity + group["eps"]).sqrt_(), value=-group["lr"])
        return loss
