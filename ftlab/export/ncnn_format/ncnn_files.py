"""The format `ncnn`: `model.ncnn.param` and `model.ncnn.bin`, from the normalized square to everything."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

from ftlab.core.errors import ExportError
from ftlab.export import answer_network, description_file, own_process
from ftlab.export.answer_process.model_process import ModelProcess
from ftlab.export.exported_answer import ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import network_graph

PARAM_FILE_NAME = "model.ncnn.param"
"""The layers, as text."""
WEIGHTS_FILE_NAME = "model.ncnn.bin"
INPUT_NAME = "images"
"""Blob of the normalized square, float32 [3, S, S]."""
_LOADING_LINES = '''
"""Ask the model about an image: python load_model.py photo.jpg. Needs ncnn, numpy and Pillow."""

import json
import sys
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image, ImageOps

folder = Path(__file__).parent
description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
prep = description["preprocessing"]
net = ncnn.Net()
# Exact numbers. Without this line ncnn computes in float16 where the processor can: faster, and a little off.
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
if net.load_param(str(folder / "model.ncnn.param")) or net.load_model(str(folder / "model.ncnn.bin")):
    raise SystemExit("ncnn cannot load the model.")


def prepare(image):
    """Return the normalized square of an RGB image, float32 [3, S, S]."""
    size, side = prep["resize"], prep["side"]
    if prep["resize_mode"] == "squash":
        resized_size = (size, size)
    else:
        resized_size = tuple(size * length // min(image.size) for length in image.size)
    image = image.resize(resized_size, Image.Resampling[prep["interpolation"].upper()])
    left, top = (round((length - side) / 2) for length in resized_size)
    levels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32)
    values = (levels / np.float32(255) - np.float32(prep["mean"])) / np.float32(prep["std"])
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def answer(image):
    """Return probabilities, logits and, where the network has them, class maps of an RGB image, by name."""
    values = prepare(image)  # ncnn.Mat has no copy: the array must live until the answer is there
    extractor = net.create_extractor()
    extractor.input("images", ncnn.Mat(values))
    return {name: np.array(extractor.extract(name)[1]) for name in description["ncnn"]["outputs"]}


if __name__ == "__main__":
    probabilities = answer(ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB"))["probabilities"]
    print(description["classes"][probabilities.argmax()], probabilities.max())
'''


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write the model; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` halves the file.
    """
    output_names = answer_network.list_output_names(source)
    blobs = {"ncnn": {"input": INPUT_NAME, "outputs": output_names}}
    description_file.write_description(source, folder, _LOADING_LINES, blobs)
    work_folder = folder / "pnnx"
    work_folder.mkdir()
    _convert_network(source, work_folder, half_weights=options.half_weights)
    param_text = (work_folder / PARAM_FILE_NAME).read_text(encoding="utf-8")
    new_names = {"in0": INPUT_NAME, **{f"out{index}": name for index, name in enumerate(output_names)}}
    (folder / PARAM_FILE_NAME).write_text(rename_blobs(param_text, new_names), encoding="utf-8")
    shutil.move(work_folder / WEIGHTS_FILE_NAME, folder / WEIGHTS_FILE_NAME)
    shutil.rmtree(work_folder)


def _convert_network(source: ModelSource, folder: Path, *, half_weights: bool) -> None:
    """Let pnnx convert the network; it writes several other files beside.

    Args:
        source: the model.
        folder: an empty folder, for all of them.
        half_weights: store float16.

    Raises:
        ExportError: pnnx cannot convert it, or ncnn has no layer for a part of it.
    """
    import pnnx

    title = source.predictor.spec.title
    onnx.save_model(network_graph.export_network(source), str(folder / "model.onnx"))
    side = source.predictor.prep.side
    flags = [f"inputshape=[1,3,{side},{side}]", f"fp16={int(half_weights)}"]
    # The program itself: its Python functions read the source files that it writes.
    own_process.run_program("ncnn", title, [pnnx.EXEC_PATH, "model.onnx", *flags], folder)
    for name in (PARAM_FILE_NAME, WEIGHTS_FILE_NAME):
        if not (folder / name).is_file():  # its exit status does not tell
            raise ExportError("export.converter", title=title, format="ncnn", cause="It has written nothing.")
    foreign_layer = find_foreign_layer((folder / PARAM_FILE_NAME).read_text(encoding="utf-8"))
    if foreign_layer:
        raise ExportError("export.no_layer", title=title, layer=foreign_layer)


def find_foreign_layer(param_text: str) -> str:
    """Return a type of layer that ncnn does not have, empty if there is none: pnnx leaves such a one as torch names it.

    Args:
        param_text: of `model.ncnn.param`.
    """
    layer_types = (line.split()[0] for line in param_text.splitlines()[2:] if line.strip())
    return next((name for name in layer_types if "." in name or "::" in name), "")


def rename_blobs(param_text: str, new_names: Mapping[str, str]) -> str:
    """Rename blobs in the text of a network.

    Args:
        param_text: of `model.ncnn.param`: two lines of counts, then for each layer its type, its name, the counts of
            its inputs and outputs, their blobs, and its parameters.
        new_names: by old names.

    Returns:
        The text.
    """
    magic, counts, *layer_lines = param_text.splitlines()
    renamed = [magic, counts]
    for line in layer_lines:
        layer_type, layer_name, input_count, output_count, *values = line.split()
        blob_count = int(input_count) + int(output_count)
        blobs = [new_names.get(name, name) for name in values[:blob_count]]
        renamed.append(" ".join((layer_type, layer_name, input_count, output_count, *blobs, *values[blob_count:])))
    return "\n".join(renamed) + "\n"


def open_model(folder: Path) -> ExportedModel:
    """Open the model by the lines in its folder, which know nothing of ftlab; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model, in a process of its own.
    """
    return ModelProcess("ncnn", folder / description_file.LOADING_FILE_NAME)
