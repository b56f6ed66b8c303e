"""The format `executorch`: what is converted, and lines that run it without ftlab.

Tests that call `importorskip` need ExecuTorch; the others go up to the package, with a runtime that stands in for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ftlab.core.errors import ExportError
from ftlab.export import own_process
from ftlab.export.executorch_format import executorch_files
from ftlab.export.formats import ExportOptions
from tests.support.exported_models import NAMES, check_answers, draw_image, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

RUNTIME = """
import torch

class Program:
    def __init__(self, path):
        self.path = path

    def load_method(self, name):
        return Method(self.path, name)

class Method:
    def __init__(self, path, name):
        texts = {"model.json": ""}
        self.module = torch.export.load(path, extra_files=texts).module()
        self.text = texts["model.json"] if name == "ftlab" else None

    def execute(self, inputs):
        return [self.text] if self.text else list(self.module(*inputs))

class Runtime:
    @staticmethod
    def get():
        return Runtime()

    def load_program(self, path):
        return Program(path)
"""
"""A package with the interface of `executorch.runtime`, whose programs are those of `torch.export`."""

ASK = """
import json, runpy, sys

for name in ("ftlab", "timm", "onnx", "onnxruntime", "gradio", "accelerate"):
    sys.modules[name] = None  # importing it fails

sys.argv = sys.argv[1:]
print(json.dumps(runpy.run_path(sys.argv[0], run_name="__main__")["description"]))
"""
"""A program that has nothing but what the format claims to need."""


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A converter that writes a program for `RUNTIME`, and the modules that were run."""
    package = tmp_path / "packages" / "executorch"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "runtime.py").write_text(RUNTIME, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    modules: list[str] = []

    def run_module(_format: str, _title: str, module: str, arguments: list[Any]) -> None:
        modules.append(module)
        program_path, description_path, model_path = arguments
        texts = {"model.json": description_path.read_text(encoding="utf-8")}
        with model_path.open("wb") as stream:
            torch.export.save(torch.export.load(program_path), stream, extra_files=texts)

    monkeypatch.setattr(own_process, "run_module", run_module)
    return modules


def make_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_the_lines_give_the_answers_of_the_model_by_the_runtime_alone(
    tmp_path: Path, conversions: list[str], resize_mode: str
) -> None:
    source, folder = make_source(temperature=1.7, resize_mode=resize_mode), make_folder(tmp_path)
    executorch_files.write_files(source, folder, ExportOptions())
    assert conversions == ["ftlab.export.executorch_format.executorch_converter"]
    assert {path.name for path in folder.iterdir()} == {"model.pte", "model.json", "load_model.py"}
    check_answers(source, executorch_files.open_model(folder), bound=1e-4, map_bound=1e-3)


@pytest.mark.usefixtures("conversions")
def test_a_network_without_class_maps_answers_without_them(tmp_path: Path) -> None:
    source, folder = make_source("mobilenet_v3_small"), make_folder(tmp_path)
    executorch_files.write_files(source, folder, ExportOptions())
    pixels = draw_image(90, 70)
    answer = executorch_files.open_model(folder)(pixels)
    assert answer.class_maps is None
    assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=1e-4)


def test_a_converter_that_fails_is_one_line(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "executorch").mkdir(parents=True)
    (packages / "executorch" / "__init__.py").write_text("raise ImportError('made for another torch')")
    folder = make_folder(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(packages))
        with pytest.raises(ExportError, match=r"the converter of executorch failed\. .*made for another torch"):
            executorch_files.write_files(make_source("mobilenet_v3_small"), folder, ExportOptions())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tf_efficientnet_lite0", {}),
        ("mobilenet_v2", {}),
        ("resnet18", {}),
        ("timm/vit_tiny_patch16_224", {"side": 224, "resize": 248}),
    ],
)
def test_programs_of_executorch_give_the_answers_of_the_model(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    pytest.importorskip("executorch")
    source = make_source(name, temperature=1.7, **changes)
    executorch_files.write_files(source, tmp_path, ExportOptions())
    model = executorch_files.open_model(tmp_path)
    if source.class_weights is not None:
        check_answers(source, model, bound=1e-4, map_bound=1e-3)
    pixels = draw_image(333, 500)
    answer = model(pixels)
    assert (answer.class_maps is None) == (source.class_weights is None)
    assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=1e-4)


def test_the_program_carries_its_description_and_runs_without_ftlab(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    source, folder = make_source(), make_folder(tmp_path)
    executorch_files.write_files(source, folder, ExportOptions())
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").unlink()
    pixels = draw_image(90, 70)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    finished = subprocess.run(
        [sys.executable, "-I", "-c", ASK, str(folder / "load_model.py"), str(tmp_path / "photo.png")],
        capture_output=True,
        check=True,
    )
    printed_line, description_line = finished.stdout.decode("utf-8").splitlines()[-2:]
    name, probability = printed_line.split()
    probabilities = source.answer(pixels).probabilities
    assert name == NAMES[probabilities.argmax()]
    assert float(probability) == pytest.approx(probabilities.max(), abs=1e-4)
    assert json.loads(description_line) == described
    assert described["classes"] == list(NAMES)
