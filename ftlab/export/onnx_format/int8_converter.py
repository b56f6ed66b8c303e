"""Storage of a network as int8, run in a process of its own: `python -m … network.onnx images.npy int8.onnx`.

Weights and activations become integers of 8 bits, with one scale for each channel of a weight and one for each
activation, found by a pass of example images (static quantization). The graph stays one of ordinary operators, with
QuantizeLinear and DequantizeLinear between them, which runtimes replace by integer arithmetic where they have it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

_LAYER_TYPES = ("Conv", "Gemm", "MatMul")


class _ImageReader(CalibrationDataReader):  # type: ignore[misc]
    """The images of a pass."""

    def __init__(self, images_path: Path, input_name: str) -> None:
        """Read the images.

        Args:
            images_path: `.npy`, float32 [N, 3, S, S].
            input_name: of the network.
        """
        self._batches = ({input_name: image[None]} for image in np.load(images_path, mmap_mode="r"))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next image as the input of the network; None after the last one."""
        return next(self._batches, None)


def quantize_file(network_path: Path, images_path: Path, int8_path: Path) -> None:
    """Write a network with weights and activations in int8.

    Args:
        network_path: ONNX file from images, float32 [1, 3, S, S].
        images_path: `.npy`, float32 [N, 3, S, S], normalized.
        int8_path: file to write.
    """
    graph = onnx.load(network_path).graph
    quantize_static(
        network_path,
        int8_path,
        _ImageReader(images_path, graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        # Seven bits: sums of eight-bit products overflow 16 bits on processors without VNNI.
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list_last_nodes(graph),
    )


def list_last_nodes(graph: GraphProto) -> list[str]:
    """Return the names of the nodes from the last layer of each output on: they stay in float32.

    They are a small part of the file, and nothing that follows evens out their errors.

    Args:
        graph: a network.
    """
    producers = {output: node for node in graph.node for output in node.output}
    pending = [output.name for output in graph.output]
    last_nodes: dict[str, NodeProto] = {}
    while pending:
        node = producers.get(pending.pop())
        if node is None or node.name in last_nodes:
            continue
        last_nodes[node.name] = node
        if node.op_type not in _LAYER_TYPES:
            pending.extend(node.input)
    return list(last_nodes)


if __name__ == "__main__":
    quantize_file(*map(Path, sys.argv[1:4]))
