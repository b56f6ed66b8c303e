"""Structure of a Core ML model, read in a process of its own: `python -m … model.mlpackage structure.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import coremltools


def read_structure(model_path: Path) -> dict[str, Any]:
    """Read what a model takes, returns and says of itself, as plain JSON.

    Args:
        model_path: `.mlpackage`.

    Returns:
        `image`, [height, width, color space]; `outputs`, the names; `labels`; `description`, the text under `ftlab`.
    """
    spec = coremltools.models.MLModel(str(model_path), skip_model_load=True).get_spec()
    (feature,) = spec.description.input
    image = feature.type.imageType
    color_names = image.DESCRIPTOR.enum_types_by_name["ColorSpace"].values_by_number
    # The labels of a program are an operand of its operation `classify`.
    (function,) = spec.mlProgram.functions.values()
    block = function.block_specializations[function.opset]
    (classify,) = (operation for operation in block.operations if operation.type == "classify")
    (operand,) = classify.inputs["classes"].arguments
    labels = [
        text
        for value in operand.value.immediateValue.list.values
        for text in value.immediateValue.tensor.strings.values
    ]
    return {
        "image": [image.height, image.width, color_names[image.colorSpace].name],
        "outputs": [output.name for output in spec.description.output],
        "labels": labels,
        "description": spec.description.metadata.userDefined["ftlab"],
    }


if __name__ == "__main__":
    structure = read_structure(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(structure), encoding="utf-8")
