"""The format `coreml`: `model.mlpackage`, from a square to everything; it runs on Apple's systems only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.core import interruption
from ftlab.core.errors import ExportError
from ftlab.export import answer_network, description_file, own_process
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.torch_formats import program_files

MODEL_FILE_NAME = "model.mlpackage"
"""A folder. From `image`, RGB [S, S]."""


class LevelNetwork(nn.Module):
    """An answer network with the normalization before it."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        """Join both.

        Args:
            network: takes normalized images, float32 [N, 3, S, S].
            mean: of each channel, in [0, 1].
            std: of each channel.
        """
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, levels: Tensor) -> tuple[Tensor, ...]:
        """Return what the network answers to levels in [0, 255], float32 [N, 3, S, S]."""
        # Core ML's own scale of an image is one number for all channels.
        outputs: tuple[Tensor, ...] = self.network((levels / 255 - self.mean) / self.std)
        return outputs


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:  # noqa: ARG001 (no options)
    """Write the model; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: none.
    """
    description_file.write_description(source, folder)
    program_path = folder / "network.pt2"
    prep = source.predictor.prep
    network = LevelNetwork(answer_network.build_answer_network(source), list(prep.mean), list(prep.std)).eval()
    torch.export.save(program_files.export_program(source, any_count=False, module=network), program_path)
    arguments = [program_path, folder / description_file.DESCRIPTION_FILE_NAME, folder / MODEL_FILE_NAME]
    title = source.predictor.spec.title
    own_process.run_module("coreml", title, "ftlab.export.coreml_format.coreml_converter", arguments)
    program_path.unlink()


def open_model(folder: Path) -> None:
    """Read structure and metadata of the model back; nothing but Apple's systems can run it. See `FormatModule`.

    Args:
        folder: with the files.

    Raises:
        ExportError: they are not those of the model.
    """
    description = description_file.read_description(folder)
    with interruption.temporary_folder("ftlab-coreml-") as work_folder:
        structure_path = work_folder / "structure.json"
        reader = "ftlab.export.coreml_format.coreml_reader"
        own_process.run_module("coreml", description["title"], reader, [folder / MODEL_FILE_NAME, structure_path])
        structure = json.loads(structure_path.read_text(encoding="utf-8"))
    part = find_difference(structure, description)
    if part:
        raise ExportError("export.structure", format="coreml", part=part)


def find_difference(structure: dict[str, Any], description: dict[str, Any]) -> str:
    """Compare what was read back with the model.

    Args:
        structure: of `coreml_reader.read_structure`.
        description: `model.json`.

    Returns:
        The name of a part that differs; empty if none does.
    """
    side = description["preprocessing"]["side"]
    output_names = {"classLabel", "probabilities", "logits", *(["class_maps"] if description["class_maps"] else [])}
    expected: dict[str, Any] = {
        "image": [side, side, "RGB"],
        "outputs": sorted(output_names),
        "labels": description["classes"],
        "description": description,
    }
    found = {
        **structure,
        "outputs": sorted(structure["outputs"]),
        "description": json.loads(structure["description"] or "null"),
    }
    return next((name for name, value in expected.items() if found[name] != value), "")
