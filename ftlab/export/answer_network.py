"""The network of a model with everything that follows it, as a module that the formats convert."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ftlab.export.model_source import ModelSource
from ftlab.models.execution import onnx_graph
from ftlab.models.execution.answer_graph import AnswerModule
from ftlab.models.network import Network


class AnswerNetwork(nn.Module):
    """A network with what follows its logits: temperature, softmax and class activation maps."""

    def __init__(self, network: Network, source: ModelSource) -> None:
        """Join a network with the temperature and the class weights of its model.

        Args:
            network: of this module alone.
            source: the model.
        """
        super().__init__()
        self._temperature = source.temperature
        class_weights = source.class_weights
        if class_weights is None:
            self.network: nn.Module = network
        else:
            self.network = AnswerModule(network, source.predictor.spec.cam)
            self.register_buffer("class_weights", class_weights[:, :, None, None].clone())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities, logits, both float32 [N, K], and class maps, [N, K, h, w], of float32 [N, 3, S, S]."""
        output = self.network(images)
        logits = output if isinstance(output, Tensor) else output[0]
        probabilities = (logits / self._temperature).softmax(1)
        if isinstance(output, Tensor):
            return probabilities, logits
        # The map of a class is the weighted sum of the feature maps: a 1 × 1 convolution.
        assert isinstance(self.class_weights, Tensor)
        return probabilities, logits, F.conv2d(output[1], self.class_weights)


def make_example_images(source: ModelSource, count: int = 1) -> Tensor:
    """Return normalized images for a converter to follow through the network, float32 [count, 3, S, S]."""
    side = source.predictor.prep.side
    # Not zero: a constant image hides differences of layers that look at neighbours.
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def build_answer_network(source: ModelSource) -> AnswerNetwork:
    """Build the module of a model, for one image size.

    Args:
        source: the model; its network runs on the CPU and stays as it is.

    Returns:
        The module, in evaluation mode.
    """
    network = source.predictor.network
    backbone = onnx_graph.make_padding_static(network.backbone, make_example_images(source))
    return AnswerNetwork(Network(backbone, network.head), source).eval()


@contextmanager
def traceable_attention() -> Iterator[None]:
    """Let torch's multi-head attention take its ordinary path: no format has an operator for its fast one.

    Yields:
        Nothing.
    """
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def list_output_names(source: ModelSource) -> list[str]:
    """Return the names of the outputs of `AnswerNetwork`."""
    return ["probabilities", "logits", *(["class_maps"] if source.class_weights is not None else [])]
