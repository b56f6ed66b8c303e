"""The format `pt2`: a program of `torch.export`, which PyTorch runs without the code of the network."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ftlab.core.errors import ExportError
from ftlab.data.images.decode import ImageArray
from ftlab.export import answer_network, description_file
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.torch_formats import loading_lines

PROGRAM_FILE_NAME = "model.pt2"
"""From `images`, float32 [N, 3, S, S], normalized."""
_LOADING_LINES = """
import torch
from torchvision.transforms import v2

model = torch.export.load("{file}").module()

{transform_lines}
"""


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:  # noqa: ARG001 (no options)
    """Write the program; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: none.
    """
    program = export_program(source)
    description = json.dumps(source.describe(), ensure_ascii=False)
    torch.export.save(
        program, folder / PROGRAM_FILE_NAME, extra_files={description_file.DESCRIPTION_FILE_NAME: description}
    )
    transform_lines = loading_lines.write_transform_lines(source.predictor.prep)
    lines = _LOADING_LINES.format(file=PROGRAM_FILE_NAME, transform_lines=transform_lines)
    description_file.write_description(source, folder, lines)


def export_program(source: ModelSource, *, any_count: bool = True, module: nn.Module | None = None) -> ExportedProgram:
    """Export the network of a model, with probabilities and maps.

    Args:
        source: the model; its network runs on the CPU.
        any_count: for any number of images; else for one at a time.
        module: in evaluation mode, takes such images; None: the answer network of the model.

    Returns:
        The program of the module.

    Raises:
        ExportError: torch cannot export it.
    """
    # Two images: a count of one would be taken as a constant.
    images = answer_network.make_example_images(source, 2 if any_count else 1)
    shapes = {"images": {0: Dim("count")}} if any_count else None
    module = module or answer_network.build_answer_network(source)
    with warnings.catch_warnings(), torch.no_grad(), answer_network.traceable_attention():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(module, (images,), dynamic_shapes=shapes)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as cause:
            raise ExportError("export.no_program", title=source.predictor.spec.title) from cause


def open_model(folder: Path) -> ExportedModel:
    """Load the program; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model.
    """
    module = torch.export.load(folder / PROGRAM_FILE_NAME).module()
    prepare_image = description_file.read_preparation(folder)

    def answer(pixels: ImageArray) -> ExportedAnswer:
        with torch.inference_mode():
            probabilities, _logits, *class_maps = module(torch.from_numpy(prepare_image(pixels)))
        return ExportedAnswer(probabilities[0].numpy(), class_maps[0][0].numpy() if class_maps else None)

    return answer
