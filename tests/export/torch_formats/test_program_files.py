"""The format `pt2`: a program that PyTorch runs without the code of the network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ftlab.core.errors import ExportError
from ftlab.export.formats import ExportOptions
from ftlab.export.torch_formats import program_files
from tests.support.exported_models import NAMES, check_answers, draw_image, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

ASK = """
import sys

for name in ("ftlab", "timm", "onnx", "onnxruntime", "gradio", "accelerate"):
    sys.modules[name] = None  # importing it fails

{lines}

import numpy

images = torch.stack([transform(numpy.load("pixels.npy"))] * 3)
with torch.inference_mode():
    probabilities, logits, class_maps = model(images)
numpy.savez("answer.npz", probabilities=probabilities.numpy(), maps=class_maps.numpy())
"""
"""A program that has nothing but what the format claims to need."""


def test_images_of_every_shape_get_the_answers_of_the_model(tmp_path: Path) -> None:
    source = make_source("tf_efficientnet_lite0", temperature=1.7)
    program_files.write_files(source, tmp_path, ExportOptions())
    check_answers(source, program_files.open_model(tmp_path), bound=1e-4, map_bound=1e-3)


def test_the_lines_run_without_ftlab_and_timm_for_any_number_of_images(tmp_path: Path) -> None:
    source = make_source("tf_efficientnet_lite0")
    program_files.write_files(source, tmp_path, ExportOptions())
    pixels = draw_image(90, 70)
    np.save(tmp_path / "pixels.npy", pixels)
    lines = (tmp_path / "load_model.py").read_text("utf-8")
    subprocess.run([sys.executable, "-I", "-c", ASK.format(lines=lines)], cwd=tmp_path, check=True)
    answer = np.load(tmp_path / "answer.npz")
    expected = np.tile(source.answer(pixels).probabilities, (3, 1))
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-4)
    assert answer["maps"].shape == (3, 3, 2, 2)


def test_a_network_without_such_maps_answers_without_them(tmp_path: Path) -> None:
    source = make_source("mobilenet_v3_small")
    program_files.write_files(source, tmp_path, ExportOptions())
    pixels = draw_image(90, 70)
    answer = program_files.open_model(tmp_path)(pixels)
    assert answer.class_maps is None
    assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=1e-4)


def test_classes_preprocessing_and_threshold_are_in_the_file(tmp_path: Path) -> None:
    source = make_source()
    program_files.write_files(source, tmp_path, ExportOptions())
    extra_files = {"model.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra_files)
    described = json.loads(extra_files["model.json"])
    assert described == json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert described["classes"] == list(NAMES)


def test_a_network_that_torch_cannot_follow_is_refused(tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features if features.sum() > 0 else -features

    source = make_source("mobilenet_v3_small")
    source.predictor.network.head = torch.nn.Sequential(Branching(), source.predictor.network.head)
    with pytest.raises(ExportError, match=r"torch\.export"):
        program_files.write_files(source, tmp_path, ExportOptions())
