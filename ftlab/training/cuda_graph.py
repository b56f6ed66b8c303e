"""Capture forward and backward as CUDA graphs and replay them.

A step of a deep network is a thousand kernels, and launching one takes longer than many of them run: a fast GPU waits
for the CPU. A CUDA graph (https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/) launches all of them at
once. Replays give the same bits each time; to passes that were not captured they are equal but for rounding, because
libraries may select other kernels during capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ftlab.data.gpu import to_device
from ftlab.training.train_step import ModelOutput

_MAX_RELATIVE_DIFFERENCE = 0.1
"""Largest difference of replayed logits, relative to their norm, and of 1 and the cosine between the gradients."""


class _CapturedModule(nn.Module):
    """Wrapper that is captured in place of the network: torch replaces the `forward` of what it captures."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap `network`."""
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> ModelOutput:
        """Return the output of the network."""
        output: ModelOutput = self.network(inputs)
        return output


def capture_cuda_graph(network: nn.Module, inputs: Tensor) -> Callable[[Tensor], ModelOutput]:
    """Capture forward and backward pass of a network, and return a callable that replays both.

    Call it once in a step only: a second call overwrites logits and gradients of the first. Trainable parameters and
    training flags must not change afterwards. The network's buffers change during the capture.

    Args:
        network: on a CUDA device, in training mode. If it uses autocast it does so in its own `forward`, without the
            cache of casted weights.
        inputs: a batch of the size to be replayed, float32 [B, 3, S, S]; it is copied.

    Returns:
        Inputs [B, 3, S, S] -> output of the network, in memory that the next call overwrites.
    """
    # Gradients are accumulated on the stream of the capture, and autograd waits for it: torch warns of that wait.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # Another thread that allocates or copies on the device meanwhile would invalidate the capture.
    with to_device.cuda_lock:
        return torch.cuda.make_graphed_callables(_CapturedModule(network), (inputs.clone(),), allow_unused_input=True)  # type: ignore[return-value]


@contextmanager
def perturb_parameters(module: nn.Module) -> Iterator[None]:
    """Scale the trainable parameters by random factors in [1, 1.5) within the block, and restore them at the end.

    A graph that does not read the current parameters replays its old results, and so gives itself away.

    Args:
        module: has at least one trainable parameter.
    """
    parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    original_values = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator(original_values[0].device).manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.rand(parameter.shape, generator=generator, device=parameter.device)
            parameter.mul_(1 + noise / 2)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, original_values)


def outputs_match(eager: list[Tensor], replayed: list[Tensor]) -> bool:
    """Check whether two passes agree but for rounding.

    In bfloat16 rounding errors add up in a deep network, most of all in its gradients, of which only the direction is
    compared.

    Args:
        eager: logits [b, K], then the gradients.
        replayed: the same tensors of the other pass.

    Returns:
        Whether they agree.
    """
    if len(eager) != len(replayed):
        return False
    eager_gradients, replayed_gradients = (
        torch.cat([tensor.flatten().float() for tensor in tensors[1:]]) for tensors in (eager, replayed)
    )
    relative_difference = (eager[0] - replayed[0]).float().norm() / eager[0].float().norm()
    return bool(relative_difference < _MAX_RELATIVE_DIFFERENCE) and bool(
        torch.cosine_similarity(eager_gradients, replayed_gradients, dim=0) > 1 - _MAX_RELATIVE_DIFFERENCE
    )
