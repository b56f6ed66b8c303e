"""The format `openvino`: the pixels of any image in, the answers of the trained model out.

Without OpenVINO, `tests/export/test_heavy_formats.py` goes up to the package.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.export.formats import ExportOptions
from ftlab.export.openvino_format import openvino_files, telemetry_block
from tests.support.exported_models import NAMES, check_answers, check_half_weights, draw_image, make_source

telemetry_block.block_telemetry()
openvino = pytest.importorskip("openvino")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_images_of_every_shape_get_the_answers_of_the_model(
    tmp_path: Path, interpolation: str, resize_mode: str
) -> None:
    source = make_source(interpolation=interpolation, resize_mode=resize_mode, temperature=1.7)
    openvino_files.write_files(source, tmp_path, ExportOptions())
    check_answers(source, openvino_files.open_model(tmp_path), bound=5e-3, map_bound=0.05)


@pytest.mark.parametrize("name", ["mobilenet_v2", "tf_efficientnet_lite0", "resnet18"])
def test_an_image_that_is_only_cropped_gets_the_same_probabilities(tmp_path: Path, name: str) -> None:
    source = make_source(name)
    openvino_files.write_files(source, tmp_path, ExportOptions())
    pixels = draw_image(source.predictor.prep.resize, 101)
    found = openvino_files.open_model(tmp_path)(pixels).probabilities
    assert found == pytest.approx(source.answer(pixels).probabilities, abs=1e-4)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenet_v3_small"])
def test_float16_weights_halve_the_file(tmp_path: Path, name: str) -> None:
    check_half_weights(openvino_files, make_source(name), tmp_path, "model.bin", (5e-3, 3e-2))


def test_classes_preprocessing_and_threshold_are_in_the_model(tmp_path: Path) -> None:
    source = make_source()
    openvino_files.write_files(source, tmp_path, ExportOptions())
    model = openvino.Core().read_model(tmp_path / "model.xml")
    described = json.loads(model.get_rt_info(["ftlab"]).astype(str))
    assert described == json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert described["classes"] == list(NAMES)
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "amber blue green"
    assert [str(taken.partial_shape) for taken in model.inputs] == ["[1,?,?,3]"]
    assert not (tmp_path / "network.onnx").exists()
