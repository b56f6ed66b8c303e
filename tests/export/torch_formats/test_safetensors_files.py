"""The format `safetensors`: plain weights, and lines that load them where ftlab is not installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from ftlab.export import model_source
from ftlab.export.export_run import export_run
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.export.torch_formats import safetensors_files
from tests.support import drawn_images
from tests.support.exported_models import NAMES, SIZES, check_half_weights, draw_image, make_run, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

ASK = """
import sys

for name in ("ftlab", "onnx", "onnxruntime", "gradio", "accelerate"):
    sys.modules[name] = None  # importing it fails

{lines}

import numpy

with torch.inference_mode():
    logits = model(transform(numpy.load("pixels.npy"))[None])
numpy.save("probabilities.npy", logits.softmax(1)[0].numpy())
"""
"""A program that has nothing but what the format claims to need."""


@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_images_of_every_shape_get_the_answers_of_the_model(tmp_path: Path, resize_mode: str) -> None:
    source = make_source("tf_efficientnet_lite0", temperature=1.7, resize_mode=resize_mode)
    safetensors_files.write_files(source, tmp_path, ExportOptions())
    exported = safetensors_files.open_model(tmp_path)
    for number, (height, width) in enumerate(SIZES):
        pixels = draw_image(height, width, number)
        answer = exported(pixels)
        assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=1e-4), (height, width)
        assert answer.class_maps is None


@pytest.mark.parametrize("name", ["mobilenet_v2", "tf_efficientnet_lite0"])
def test_the_lines_of_the_model_card_run_without_ftlab(tmp_path: Path, name: str) -> None:
    run = make_run(drawn_images.tiny(tmp_path / "tiny"), tmp_path / "runs", name)
    result = export_run(run, FORMATS["safetensors"], tmp_path / "out", ExportOptions())
    assert result.report is not None
    assert result.report.largest_difference <= 1e-4
    (lines,) = re.findall(r"```python\n(.+?)```", (tmp_path / "out" / "README.md").read_text("utf-8"), re.DOTALL)
    pixels = draw_image(90, 70)
    np.save(tmp_path / "out" / "pixels.npy", pixels)
    subprocess.run([sys.executable, "-I", "-c", ASK.format(lines=lines)], cwd=tmp_path / "out", check=True)
    expected = model_source.load_model_source(run).answer(pixels).probabilities
    assert np.load(tmp_path / "out" / "probabilities.npy") == pytest.approx(expected, abs=1e-4)


def test_classes_preprocessing_and_threshold_are_in_the_file(tmp_path: Path) -> None:
    source = make_source()
    safetensors_files.write_files(source, tmp_path, ExportOptions())
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert json.loads(metadata["classes"]) == list(NAMES)
    described = json.loads(metadata["ftlab"])
    assert described == json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert described["threshold"] == 0.4


def test_float16_weights_halve_the_file_and_load_into_float32(tmp_path: Path) -> None:
    check_half_weights(safetensors_files, make_source(), tmp_path, "model.safetensors", (2e-2, 2e-2))
