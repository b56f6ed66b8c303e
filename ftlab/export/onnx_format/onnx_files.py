"""The format `onnx`: `model.onnx` from pixels to everything, and `network.onnx` for runtimes without its resizing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from ftlab.data.images.decode import ImageArray
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import int8_network, network_graph, pixel_graph

MODEL_FILE_NAME = "model.onnx"
"""From `image`, uint8 [1, height, width, 3] RGB of any size."""
NETWORK_FILE_NAME = "network.onnx"
"""From `images`, float32 [1, 3, S, S], normalized."""


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write both files; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` halves the files, `int8` makes them a quarter as large.
    """
    network = build_network(source, options)
    _save_model(network, folder / NETWORK_FILE_NAME, source.describe())
    save_pixel_model(source, network, folder)


def build_network(source: ModelSource, options: ExportOptions) -> ModelProto:
    """Export the network alone.

    Args:
        source: the model.
        options: `half_weights` halves its weights, `int8` makes a quarter of them.

    Returns:
        A model from `images`, see `NETWORK_FILE_NAME`.
    """
    network = network_graph.export_network(source)
    if options.half_weights:
        network_graph.store_half_weights(network)
    return int8_network.quantize_network(network, source) if options.int8 else network


def save_pixel_model(source: ModelSource, network: ModelProto, folder: Path) -> None:
    """Write `model.onnx`: the network behind the preprocessing of its images.

    Args:
        source: the model.
        network: of `build_network`; changed in place.
        folder: where the file is written.
    """
    joined = pixel_graph.join_graphs(pixel_graph.build_pixel_graph(source.predictor.prep), network)
    _save_model(joined, folder / MODEL_FILE_NAME, source.describe())


def open_model(folder: Path) -> ExportedModel:
    """Open `model.onnx` with ONNX Runtime; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / MODEL_FILE_NAME), providers=["CPUExecutionProvider"])
    output_names = [output.name for output in session.get_outputs() if output.name != "logits"]

    def answer(pixels: ImageArray) -> ExportedAnswer:
        outputs = session.run(output_names, {"image": pixels[None]})
        return ExportedAnswer(*(output[0] for output in outputs))

    return answer


def _save_model(model: ModelProto, path: Path, description: dict[str, Any]) -> None:
    """Check a model and write it with the description of its classes and preprocessing in its metadata.

    Args:
        model: to write.
        path: of the file.
        description: `ModelSource.describe`.
    """
    model.producer_name, model.producer_version = "ftlab", description["ftlab"]
    helper_values = {
        "ftlab": json.dumps(description, ensure_ascii=False),
        "classes": json.dumps(description["classes"]),
    }
    onnx.helper.set_model_props(model, helper_values)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))
