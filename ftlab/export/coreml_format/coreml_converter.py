"""Conversion to Core ML, run in a process of its own: `python -m … network.pt2 model.json model.mlpackage`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import coremltools
import torch
from coremltools.models.utils import rename_feature


def convert_program(program_path: Path, description_path: Path, model_path: Path) -> None:
    """Convert a program and write it as a classifier with its class labels.

    Args:
        program_path: program of `torch.export`, from levels in [0, 255], float32 [1, 3, S, S].
        description_path: `model.json`.
        model_path: folder to write, `.mlpackage`.
    """
    description = json.loads(description_path.read_text(encoding="utf-8"))
    # The decompositions are torch's own, to the operators that coremltools knows.
    program = torch.export.load(program_path).run_decompositions({})
    side = description["preprocessing"]["side"]
    old_names = program.graph_signature.user_outputs
    # Without its name, coremltools takes any of the outputs for the probabilities.
    labels = coremltools.ClassifierConfig(description["classes"], predicted_probabilities_output=old_names[0])
    image = coremltools.ImageType(name="image", shape=(1, 3, side, side), color_layout=coremltools.colorlayout.RGB)
    model = coremltools.convert(
        program,
        inputs=[image],
        classifier_config=labels,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    spec = model.get_spec()
    rename_feature(spec, spec.description.predictedProbabilitiesName, "probabilities")
    for old_name, name in zip(old_names[1:], ("logits", "class_maps"), strict=False):
        rename_feature(spec, old_name, name)
    model = coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    describe_model(model, description)
    model.save(str(model_path))


def describe_model(model: Any, description: dict[str, Any]) -> None:
    """Write into a model what it is and what its input and outputs are, as Xcode shows it.

    Args:
        model: `coremltools.models.MLModel`, changed in place.
        description: `model.json`.
    """
    prep = description["preprocessing"]
    model.short_description = description["title"]
    model.user_defined_metadata["ftlab"] = json.dumps(description, ensure_ascii=False)
    model.input_description["image"] = (
        f"RGB, {prep['side']} x {prep['side']}: center crop of an image resized to {prep['resize']} "
        f"({prep['resize_mode']}, {prep['interpolation']}, antialiased). Normalization is part of the model."
    )
    model.output_description["classLabel"] = "Most probable class."
    model.output_description["probabilities"] = "Probability of each class."
    model.output_description["logits"] = "Before temperature and softmax."
    if description["class_maps"]:
        model.output_description["class_maps"] = "Class activation map of each class, before the ReLU."


if __name__ == "__main__":
    convert_program(*map(Path, sys.argv[1:4]))
