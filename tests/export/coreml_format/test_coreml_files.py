"""The format `coreml`: what is converted, and that structure and metadata are read back; nothing here can run it.

Tests that call `importorskip` need coremltools; the others go up to the package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftlab.core.errors import ExportError
from ftlab.data.transforms import preprocess
from ftlab.export import own_process
from ftlab.export.coreml_format import coreml_files
from ftlab.export.formats import ExportOptions
from tests.support.exported_models import NAMES, draw_image, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

OUTPUTS = {"classLabel", "probabilities", "logits"}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A converter that keeps the program, and a reader that finds what is put into `structure`; `calls` notes both."""
    calls: list[list[str]] = []
    structure: dict[str, Any] = {"image": [64, 64, "RGB"], "outputs": [*OUTPUTS, "class_maps"], "labels": list(NAMES)}
    kept: dict[str, Any] = {"calls": calls, "structure": structure}

    def run_module(_format: str, _title: str, module: str, arguments: list[Any]) -> None:
        calls.append([module.rpartition(".")[2], *(Path(argument).name for argument in arguments)])
        if module.endswith("converter"):
            kept["program"] = torch.export.load(arguments[0]).module()
            structure["description"] = arguments[1].read_text(encoding="utf-8")
            arguments[2].mkdir()
        else:
            arguments[1].write_text(json.dumps(structure), encoding="utf-8")

    monkeypatch.setattr(own_process, "run_module", run_module)
    return kept


def test_the_converter_gets_a_program_from_levels_to_the_answers_of_the_model(
    tmp_path: Path, package: dict[str, Any]
) -> None:
    source = make_source(temperature=1.7)
    coreml_files.write_files(source, tmp_path, ExportOptions())
    assert package["calls"] == [["coreml_converter", "network.pt2", "model.json", "model.mlpackage"]]
    assert {path.name for path in tmp_path.iterdir()} >= {"model.mlpackage", "model.json"}
    assert not (tmp_path / "network.pt2").exists()
    pixels = draw_image(90, 70)
    square = preprocess.resize_and_center_crop(pixels, source.predictor.prep)
    probabilities, logits, class_maps = package["program"](square[None].float())
    assert probabilities[0].detach().numpy() == pytest.approx(source.answer(pixels).probabilities, abs=1e-5)
    assert class_maps.shape == (1, 3, 2, 2)
    assert np.allclose((logits / 1.7).softmax(1).detach(), probabilities.detach())


def test_structure_and_metadata_are_read_back(tmp_path: Path, package: dict[str, Any]) -> None:
    coreml_files.write_files(make_source(), tmp_path, ExportOptions())
    assert coreml_files.open_model(tmp_path) is None  # type: ignore[func-returns-value]
    assert package["calls"][-1] == ["coreml_reader", "model.mlpackage", "structure.json"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("image", [64, 64, "BGR"]),
        ("image", [224, 224, "RGB"]),
        ("outputs", [*OUTPUTS]),
        ("labels", ["blue", "amber", "green"]),
        ("description", "{}"),
        ("description", ""),
    ],
)
def test_a_model_that_says_something_else_is_refused(
    tmp_path: Path, package: dict[str, Any], part: str, value: object
) -> None:
    coreml_files.write_files(make_source(), tmp_path, ExportOptions())
    package["structure"][part] = value
    with pytest.raises(ExportError, match=f"coreml file is not what it should be.*{part} differs"):
        coreml_files.open_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tf_efficientnet_lite0", {}),
        ("mobilenet_v2", {}),
        ("resnet18", {}),
        ("timm/vit_tiny_patch16_224", {"side": 224, "resize": 248}),
    ],
)
def test_packages_of_core_ml_are_what_they_should_be(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    pytest.importorskip("coremltools")
    coreml_files.write_files(make_source(name, temperature=1.7, **changes), tmp_path, ExportOptions())
    coreml_files.open_model(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"model.json"}
