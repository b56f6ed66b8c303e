"""A network as an ONNX graph: normalized squares to logits, probabilities and class activation maps."""

from __future__ import annotations

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ftlab.core.errors import ExportError
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format.pixel_graph import OPSET
from ftlab.models.execution import onnx_graph
from ftlab.models.execution.answer_graph import AnswerModule
from ftlab.models.network import Network

_MIN_HALF_VALUES = 1024
"""Values from which a weight is stored as float16: smaller ones (biases) take no space, and some are sensitive."""
_MAX_HALF = float(np.finfo(np.float16).max)


def export_network(source: ModelSource) -> ModelProto:
    """Export the network of a model.

    Args:
        source: the model; its network runs on the CPU.

    Returns:
        A model from `images`, float32 [1, 3, S, S], normalized, to `probabilities` and `logits`, float32 [1, K], and,
        where the network has them, `class_maps`, float32 [1, K, h, w].

    Raises:
        ExportError: torch cannot export it.
    """
    prep = source.predictor.prep
    # Not zero: a constant image hides differences of layers that look at neighbours.
    images = torch.randn(1, 3, prep.side, prep.side, generator=torch.Generator().manual_seed(0))
    network = source.predictor.network
    static_network = Network(onnx_graph.make_padding_static(network.backbone, images), network.head)
    module = _ProbabilityModule(static_network, source).eval()
    output_names = ["probabilities", "logits", *(["class_maps"] if source.class_weights is not None else [])]
    graph_bytes = onnx_graph.export_module(module, images, "images", output_names, opset=OPSET, any_count=False)
    if graph_bytes is None:
        raise ExportError("export.no_graph", title=source.predictor.spec.title)
    return onnx.load_from_string(graph_bytes)


class _ProbabilityModule(nn.Module):
    """A network with what follows its logits."""

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


def store_half_weights(model: ModelProto) -> None:
    """Store the weights of a model as float16, and let it convert them back when it is loaded.

    The computation stays in float32, which every processor has; the file is half as large.

    Args:
        model: changed in place.
    """
    graph = model.graph
    casts: list[NodeProto] = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=np.int64) < _MIN_HALF_VALUES:
            continue
        values = numpy_helper.to_array(tensor)
        if not np.isfinite(values).all() or np.abs(values).max() > _MAX_HALF:
            continue
        full_name = tensor.name
        half_tensor = numpy_helper.from_array(values.astype(np.float16), f"{full_name}/half")
        tensor.CopyFrom(half_tensor)
        casts.append(helper.make_node("Cast", [half_tensor.name], [full_name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
