"""Conversion to OpenVINO, run in a process of its own: `python -m … network.onnx model.json model.xml float32`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ftlab.export.openvino_format import telemetry_block

telemetry_block.block_telemetry()
import openvino  # noqa: E402
from openvino import Model, Node, PartialShape, Type  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

_MODES = {"bilinear": "bilinear_pillow", "bicubic": "bicubic_pillow"}
"""OpenVINO's filters that equal those of Pillow, which PyTorch's antialiased ones equal: others ignore the scale."""


def convert(network_path: Path, description_path: Path, model_path: Path, *, half_weights: bool) -> None:
    """Join a preprocessing with a network and write the model.

    Args:
        network_path: ONNX file from `images`, normalized, to the answers.
        description_path: `model.json`.
        model_path: file to write, `.xml`; the weights get the same name with `.bin`.
        half_weights: store float16.
    """
    description = json.loads(description_path.read_text(encoding="utf-8"))
    network = openvino.Core().read_model(network_path)
    image = ops.parameter(PartialShape([1, -1, -1, 3]), Type.u8, name="image")
    (square_input,) = network.get_parameters()
    square = _build_pixel_nodes(image, description["preprocessing"])
    for target in square_input.output(0).get_target_inputs():
        target.replace_source_output(square.output(0))
    results = network.get_results()
    model = Model(results, [image], "ftlab")
    for name, output in zip(("probabilities", "logits", "class_maps"), model.outputs, strict=False):
        output.get_tensor().set_names({name})
    image.output(0).get_tensor().set_names({"image"})
    model.set_rt_info(json.dumps(description, ensure_ascii=False), ["ftlab"])
    # By this key other programs (Open Model Zoo's, Frigate) find the classes.
    labels = " ".join(name.replace(" ", "_") for name in description["classes"])
    model.set_rt_info(labels, ["model_info", "labels"])
    openvino.save_model(model, model_path, compress_to_fp16=half_weights)


def _build_pixel_nodes(image: Node, prep: dict[str, Any]) -> Node:
    """Return the node of the normalized square, float32 [1, 3, S, S], of an image of any size.

    Args:
        image: uint8 [1, height, width, 3].
        prep: `Preprocessing` of a description.
    """
    side = _constant([prep["side"], prep["side"]])
    axes = _constant([1, 2])
    resized_size = _build_size_nodes(image, prep)
    resized = ops.interpolate(
        image,
        resized_size,
        _MODES[prep["interpolation"]],
        "sizes",
        pads_begin=[0, 0, 0, 0],
        pads_end=[0, 0, 0, 0],
        cube_coeff=-0.5,
        axes=axes,
    )
    # Half a pixel is rounded to even, as torchvision's center crop does.
    margin = ops.convert(ops.subtract(resized_size, side), "f32")
    start = ops.convert(ops.round(ops.divide(margin, _constant([2], np.float32)), "half_to_even"), "i64")
    cropped = ops.slice(resized, start, ops.add(start, side), _constant([1, 1]), axes)
    # Sizes that follow from the image's are unknown to the converter; this one is not.
    fixed = ops.reshape(cropped, _constant([1, prep["side"], prep["side"], 3]), special_zero=False)
    levels = ops.convert(ops.transpose(fixed, _constant([0, 3, 1, 2])), "f32")
    shares = ops.divide(levels, _constant([255], np.float32))
    mean, std = (_constant(np.reshape(prep[name], (1, 3, 1, 1)), np.float32) for name in ("mean", "std"))
    return ops.divide(ops.subtract(shares, mean), std)


def _build_size_nodes(image: Node, prep: dict[str, Any]) -> Node:
    """Return the node of height and width after resizing, int64 [2]; see `preprocess.compute_resized_size`.

    Args:
        image: uint8 [1, height, width, 3].
        prep: `Preprocessing` of a description.
    """
    if prep["resize_mode"] == "squash":
        return _constant([prep["resize"], prep["resize"]])
    shape = ops.shape_of(image, "i64")
    size = ops.slice(shape, _constant([1]), _constant([3]), _constant([1]), _constant([0]))
    short_side = ops.reduce_min(size, _constant([0]), keep_dims=True)
    # The division of integers rounds the long side down.
    return ops.divide(ops.multiply(size, _constant([prep["resize"]])), short_side)


def _constant(values: Any, dtype: Any = np.int64) -> Node:
    """Return the node of a constant."""
    return ops.constant(np.asarray(values, dtype))


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:4]), half_weights=sys.argv[4] == "float16")
