"""The passes of a network on a CUDA device recorded once, and replayed with one call each.

A step of a deep network is a thousand kernels, and to ask for one takes longer than many of them run: a fast card
waits for the processor. A CUDA graph (https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/) asks for all of
them at once. Replays have the same bits each time; to the passes that were not recorded they are the same but for
rounding, for libraries may choose other kernels where they are recorded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ftlab.data.gpu import to_device
from ftlab.training.train_step import ModelOutput


class _CapturedModule(nn.Module):
    """What is recorded: its `forward` is replaced, and the network's own stays what it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> ModelOutput:
        output: ModelOutput = self.network(inputs)
        return output


def capture_cuda_graph(network: nn.Module, inputs: Tensor) -> Callable[[Tensor], ModelOutput]:
    """The network as a call that replays its forward pass, and whose backward pass is replayed.

    Whoever calls it again before the gradients were used overwrites them: once a step, that is. What learns of the
    network, and whether it trains, must stay as it is. The network's buffers move meanwhile.

    Args:
        network: on a CUDA device, training; where it computes in another precision it does so by itself, and keeps no
            casts of its weights from one pass to the next.
        inputs: a batch of the size that it will have, float32 [B, 3, side, side]; they are copied.
    """
    # What gathers a gradient does so on the stream of the record, and waits for it: torch would warn of that wait.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    with to_device.cuda_lock:
        return torch.cuda.make_graphed_callables(_CapturedModule(network), (inputs.clone(),), allow_unused_input=True)  # type: ignore[return-value]
