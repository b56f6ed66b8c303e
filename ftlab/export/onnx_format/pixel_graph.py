"""Preprocessing as an ONNX graph: the pixels of an image of any size to the normalized square of the network.

Resizing is that of Pillow, of torch and of the training: antialiased, on uint8. ONNX's cubic filter has another
coefficient by default (-0.75), and filters reach beyond the border unless `exclude_outside` is set. Resizing stands
before the transposition, as ONNX Runtime resizes two axes of any position only without one.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ftlab.data.transforms.preprocess import Preprocessing

OPSET = 19
"""Version of the ONNX operator set: the first with all that the resizing needs."""
IR_VERSION = 10
"""Version of the ONNX file format."""
_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def build_pixel_graph(prep: Preprocessing) -> ModelProto:
    """Build the graph of a preprocessing.

    Args:
        prep: resize, crop and normalization; decoding is not part of the graph.

    Returns:
        A model from `image`, uint8 [1, height, width, 3], to `pixels`, float32 [1, 3, S, S].
    """
    constants: dict[str, np.ndarray] = {
        "half": np.array(2, np.float32),
        "side": np.array([prep.side, prep.side], np.int64),
        "crop_axes": np.array([1, 2], np.int64),
        "white": np.array(255, np.float32),
        "mean": np.array(prep.mean, np.float32).reshape(1, 3, 1, 1),
        "std": np.array(prep.std, np.float32).reshape(1, 3, 1, 1),
    }
    nodes = [
        *_size_nodes(prep, constants),
        helper.make_node(
            "Resize",
            ["image", "", "", "resized_size"],
            ["resized"],
            antialias=1,
            axes=[1, 2],
            coordinate_transformation_mode="half_pixel",
            cubic_coeff_a=-0.5,
            exclude_outside=1,
            mode=_MODES[prep.interpolation],
        ),
        # Round is half to even, as torchvision's center crop.
        helper.make_node("Sub", ["resized_size", "side"], ["margin"]),
        helper.make_node("Cast", ["margin"], ["margin_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["margin_float", "half"], ["offset_float"]),
        helper.make_node("Round", ["offset_float"], ["offset_rounded"]),
        helper.make_node("Cast", ["offset_rounded"], ["crop_start"], to=TensorProto.INT64),
        helper.make_node("Add", ["crop_start", "side"], ["crop_end"]),
        helper.make_node("Slice", ["resized", "crop_start", "crop_end", "crop_axes"], ["cropped"]),
        helper.make_node("Transpose", ["cropped"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["channels_first"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "white"], ["shares"]),
        helper.make_node("Sub", ["shares", "mean"], ["centered"]),
        helper.make_node("Div", ["centered", "std"], ["pixels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "preprocessing",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, prep.side, prep.side])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _size_nodes(prep: Preprocessing, constants: dict[str, np.ndarray]) -> list[NodeProto]:
    """Return the nodes that compute `resized_size`, int64 [2]: height and width as `preprocess.compute_resized_size`.

    Args:
        prep: the preprocessing.
        constants: of the graph, by name; those of the nodes are added.
    """
    constants["resize"] = np.array([prep.resize], np.int64)
    if prep.resize_mode == "squash":
        return [helper.make_node("Concat", ["resize", "resize"], ["resized_size"], axis=0)]
    constants["size_start"], constants["size_end"] = np.array([1], np.int64), np.array([3], np.int64)
    return [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "size_start", "size_end"], ["size"]),
        helper.make_node("ReduceMin", ["size"], ["short_side"], keepdims=1),
        helper.make_node("Mul", ["size", "resize"], ["scaled_size"]),
        # The division of integers rounds the long side down.
        helper.make_node("Div", ["scaled_size", "short_side"], ["resized_size"]),
    ]


def join_graphs(pixel_graph: ModelProto, network_graph: ModelProto) -> ModelProto:
    """Join the preprocessing with a network.

    Args:
        pixel_graph: of `build_pixel_graph`.
        network_graph: from `images`, of the same operator set; changed in place.

    Returns:
        A model from `image` to the outputs of the network.
    """
    prefixed = onnx.compose.add_prefix(pixel_graph, "preprocessing/", rename_inputs=False, rename_outputs=False)
    network_graph.ir_version = prefixed.ir_version
    return onnx.compose.merge_models(prefixed, network_graph, io_map=[("pixels", "images")])
