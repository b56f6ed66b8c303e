"""A network as int8, whose scales come from training images of its run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto

from ftlab.core.errors import DataError, ExportError, ImageError
from ftlab.data.isolation import isolated
from ftlab.data.transforms import preprocess
from ftlab.evaluation import datasets
from ftlab.export import own_process
from ftlab.export.model_source import ModelSource

CALIBRATION_COUNT = 100
"""Training images whose activations give the scales, at most."""


def quantize_network(network: ModelProto, source: ModelSource) -> ModelProto:
    """Store weights and activations of a network as int8.

    Args:
        network: of `network_graph.export_network`.
        source: the model; training images of its run are read.

    Returns:
        A model with the same input and outputs.
    """
    with tempfile.TemporaryDirectory(prefix="ftlab-int8-", ignore_cleanup_errors=True) as folder_name:
        paths = [Path(folder_name) / name for name in ("network.onnx", "images.npy", "int8.onnx")]
        network_path, images_path, int8_path = paths
        onnx.save_model(network, str(network_path))
        np.save(images_path, read_calibration_images(source))
        title = source.predictor.spec.title
        own_process.run_module("onnx", title, "ftlab.export.onnx_format.int8_converter", paths)
        int8_network = onnx.load(str(int8_path))
    _remove_unused_constants(int8_network)
    return int8_network


def _remove_unused_constants(model: ModelProto) -> None:
    """Remove the constants that no node takes: limits of activations, which the scales of int8 have replaced.

    Args:
        model: changed in place.
    """
    graph = model.graph
    used_names = {name for node in graph.node for name in node.input}
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used_names]
    tensors = [tensor for tensor in graph.initializer if tensor.name in used_names]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)


def read_calibration_images(source: ModelSource) -> npt.NDArray[np.float32]:
    """Return training images at equal distances as the network sees them, float32 [N, 3, S, S].

    Not validation images: by these the model is compared afterwards.

    Args:
        source: the model, of a run.

    Raises:
        ExportError: there are none any more.
    """
    prep = source.predictor.prep
    paths = _list_training_images(source)
    count = min(len(paths), CALIBRATION_COUNT)
    squares = []
    for index in range(count):
        try:
            pixels = isolated.read_image(paths[index * len(paths) // count], prep.decode_options)
        except ImageError:
            continue  # the training has passed it over too
        squares.append(preprocess.resize_and_center_crop(pixels, prep))
    if not squares:
        raise ExportError("export.no_calibration", run=source.run_name)
    return preprocess.normalize_batch(torch.stack(squares), prep).numpy()


def _list_training_images(source: ModelSource) -> list[Path]:
    """Return the training images of the run of a model; none where it comes from no run or they are gone."""
    if source.run is None:
        return []
    try:
        dataset = datasets.load_split_dataset(source.run, "train")
    except DataError:
        return []
    return [dataset.root / item.path for item in dataset.items]
