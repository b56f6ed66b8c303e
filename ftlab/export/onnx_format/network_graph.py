"""A network as an ONNX graph: normalized squares to logits, probabilities and class activation maps."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ftlab.core.errors import ExportError
from ftlab.export import answer_network
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format.pixel_graph import OPSET
from ftlab.models.execution import onnx_graph

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
    images = answer_network.make_example_images(source)
    module = answer_network.build_answer_network(source)
    output_names = answer_network.list_output_names(source)
    with answer_network.traceable_attention():
        graph_bytes = onnx_graph.export_module(module, images, "images", output_names, opset=OPSET, any_count=False)
    if graph_bytes is None:
        raise ExportError("export.no_graph", title=source.predictor.spec.title)
    return onnx.load_from_string(graph_bytes)


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
