"""The format `safetensors`: weights for the module of timm or torchvision, and the lines that load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ftlab.data.images.decode import ImageArray
from ftlab.export import description_file, library_weights
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.torch_formats import loading_lines
from ftlab.models import weights_file

WEIGHTS_FILE_NAME = "model.safetensors"


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write the weights and the lines that load them; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` stores float16; loading converts them back.
    """
    converted = library_weights.convert_weights(source)
    tensors = {
        name: tensor.half() if options.half_weights and tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in converted.tensors.items()
    }
    # Each tensor of its own: safetensors refuses two names for the same memory.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    description = source.describe()
    metadata = {
        "format": "pt",  # what transformers and others ask for
        "ftlab": json.dumps(description, ensure_ascii=False),
        "classes": json.dumps(description["classes"], ensure_ascii=False),
    }
    weights_file.write_safetensors(folder / WEIGHTS_FILE_NAME, tensors, metadata)
    imports, _, build_lines = converted.write_loading_lines(WEIGHTS_FILE_NAME).partition("\n\n")
    transform_lines = loading_lines.write_transform_lines(source.predictor.prep)
    lines = f"{imports}\nfrom torchvision.transforms import v2\n\n{build_lines}\n\n{transform_lines}"
    description_file.write_description(source, folder, lines)


def open_model(folder: Path) -> ExportedModel:
    """Load the model by the lines in its folder, which know nothing of ftlab; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model; without maps.
    """
    namespace: dict[str, Any] = {}
    lines = (folder / description_file.LOADING_FILE_NAME).read_text(encoding="utf-8")
    # By its full path: the working directory is the whole process's.
    exec(lines.replace(f'"{WEIGHTS_FILE_NAME}"', repr(str(folder / WEIGHTS_FILE_NAME))), namespace)
    temperature = description_file.read_description(folder)["temperature"]

    def answer(pixels: ImageArray) -> ExportedAnswer:
        with torch.inference_mode():
            logits = namespace["model"](namespace["transform"](pixels)[None])[0]
        return ExportedAnswer((logits / temperature).softmax(0).numpy())

    return answer
