"""The format `openvino`: `model.xml` and `model.bin`, from the pixels of an image of any size to everything."""

from __future__ import annotations

from pathlib import Path

import onnx

from ftlab.data.images.decode import ImageArray
from ftlab.export import description_file, own_process
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import network_graph
from ftlab.export.openvino_format import telemetry_block

MODEL_FILE_NAME = "model.xml"
"""From `image`, uint8 [1, height, width, 3] RGB of any size."""
_LOADING_LINES = """
import json
import sys

import numpy as np
from PIL import Image, ImageOps

sys.modules["openvino_telemetry"] = None  # by this package, the import below reports to Google Analytics
import openvino

model = openvino.Core().compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))
outputs = model([image[None]])
probabilities = outputs["probabilities"][0]  # and "logits"; "class_maps" where the network has them
classes = json.load(open("model.json"))["classes"]
print(classes[probabilities.argmax()], probabilities.max())
"""


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write the model; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` halves the file.
    """
    description_file.write_description(source, folder, _LOADING_LINES)
    network_path = folder / "network.onnx"
    onnx.save_model(network_graph.export_network(source), str(network_path))
    arguments = [network_path, folder / description_file.DESCRIPTION_FILE_NAME, folder / MODEL_FILE_NAME]
    number_type = "float16" if options.half_weights else "float32"
    title = source.predictor.spec.title
    converter = "ftlab.export.openvino_format.openvino_converter"
    own_process.run_module("openvino", title, converter, [*arguments, number_type])
    network_path.unlink()


def open_model(folder: Path) -> ExportedModel:
    """Open the model with OpenVINO; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model.
    """
    telemetry_block.block_telemetry()
    import openvino

    # On the CPU, with its numbers in float32: processors that have bfloat16 would use it by default.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / MODEL_FILE_NAME, "CPU", settings)
    output_names = {name for output in model.outputs for name in output.names}
    wanted_names = [name for name in ("probabilities", "class_maps") if name in output_names]

    def answer(pixels: ImageArray) -> ExportedAnswer:
        outputs = model([pixels[None]])
        return ExportedAnswer(*(outputs[name][0] for name in wanted_names))

    return answer
