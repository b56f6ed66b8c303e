"""The format `executorch`: `model.pte`, from the normalized square to everything."""

from __future__ import annotations

from pathlib import Path

import torch

from ftlab.export import answer_network, description_file, own_process
from ftlab.export.answer_process.model_process import ModelProcess
from ftlab.export.exported_answer import ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.torch_formats import loading_lines, program_files

MODEL_FILE_NAME = "model.pte"
"""Its method `forward` takes float32 [1, 3, S, S], normalized; its method `ftlab` returns the text of `model.json`."""
_LOADING_LINES = '''
"""Ask the model about an image: python load_model.py photo.jpg. Needs executorch, torch, torchvision and Pillow."""

import json
import sys
from pathlib import Path

import torch
from executorch.runtime import Runtime
from PIL import Image, ImageOps
from torchvision.transforms import v2

program = Runtime.get().load_program(Path(__file__).parent / "model.pte")
description = json.loads(program.load_method("ftlab").execute([])[0])
forward = program.load_method("forward")

{transform_lines}


def answer(image):
    """Return probabilities, logits and, where the network has them, class maps of an RGB image, by name."""
    # The runtime takes dense tensors only: those of other strides are an error.
    outputs = forward.execute([transform(image)[None].contiguous()])
    return {{name: output[0] for name, output in zip({output_names}, outputs)}}


if __name__ == "__main__":
    probabilities = answer(ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB"))["probabilities"]
    print(description["classes"][probabilities.argmax()], probabilities.max().item())
'''


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:  # noqa: ARG001 (no options)
    """Write the model; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: none.
    """
    transform_lines = loading_lines.write_transform_lines(source.predictor.prep)
    output_names = answer_network.list_output_names(source)
    lines = _LOADING_LINES.format(transform_lines=transform_lines, output_names=output_names)
    description_file.write_description(source, folder, lines)
    program_path = folder / "network.pt2"
    torch.export.save(program_files.export_program(source, any_count=False), program_path)
    arguments = [program_path, folder / description_file.DESCRIPTION_FILE_NAME, folder / MODEL_FILE_NAME]
    converter = "ftlab.export.executorch_format.executorch_converter"
    own_process.run_module("executorch", source.predictor.spec.title, converter, arguments)
    program_path.unlink()


def open_model(folder: Path) -> ExportedModel:
    """Open the model by the lines in its folder, with the runtime of ExecuTorch; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model, in a process of its own.
    """
    return ModelProcess("executorch", folder / description_file.LOADING_FILE_NAME)
