"""The format `ncnn`: what pnnx is asked, what is made of its files, and lines that run them without ftlab.

Tests that take `ncnn_packages` need pnnx and ncnn; the others go up to the packages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from PIL import Image

from ftlab.core.errors import ExportError
from ftlab.export import description_file, own_process
from ftlab.export.formats import ExportOptions
from ftlab.export.ncnn_format import ncnn_files
from tests.support.exported_models import SIZES, check_answers, check_half_weights, draw_image, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

PARAM_TEXT = """7767517
4 5
Input            in0      0 1 in0
Convolution      out0     1 1 in0 out10 0=3 1=1
Split            split    1 2 out10 out1 2
Softmax          softmax  1 1 2 out0 0=0 1=1
"""


@pytest.fixture
def ncnn_packages() -> None:
    for name in ("ncnn", "pnnx"):
        pytest.importorskip(name)


@pytest.fixture
def pnnx_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """pnnx that writes `PARAM_TEXT`, and what it was called with."""
    calls: list[list[Any]] = []

    def run_program(_format: str, _title: str, command: list[Any], folder: Path) -> None:
        calls.append(command)
        onnx.checker.check_model(folder / command[1])
        (folder / "model.ncnn.param").write_text(PARAM_TEXT, encoding="utf-8")
        (folder / "model.ncnn.bin").write_bytes(b"weights")
        (folder / "model_ncnn.py").write_text("stray", encoding="utf-8")

    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="/opt/pnnx"))
    monkeypatch.setattr(own_process, "run_program", run_program)
    return calls


@pytest.mark.parametrize("half_weights", [False, True])
def test_pnnx_gets_the_network_and_nothing_of_its_other_files_stays(
    tmp_path: Path, pnnx_calls: list[list[Any]], *, half_weights: bool
) -> None:
    ncnn_files.write_files(make_source("mobilenet_v3_small"), tmp_path, ExportOptions(half_weights=half_weights))
    assert pnnx_calls == [["/opt/pnnx", "model.onnx", "inputshape=[1,3,64,64]", f"fp16={int(half_weights)}"]]
    assert {path.name for path in tmp_path.iterdir() if path.name != "isolated"} == {
        *("model.ncnn.param", "model.ncnn.bin", "model.json", "load_model.py"),
    }
    assert (tmp_path / "model.ncnn.bin").read_bytes() == b"weights"
    described = description_file.read_description(tmp_path)
    assert described["ncnn"] == {"input": "images", "outputs": ["probabilities", "logits"]}


def test_blobs_get_the_names_of_the_other_formats_and_layers_keep_theirs() -> None:
    renamed = ncnn_files.rename_blobs(PARAM_TEXT, {"in0": "images", "out0": "probabilities", "out1": "logits"})
    assert renamed.splitlines() == [
        "7767517",
        "4 5",
        "Input in0 0 1 images",
        "Convolution out0 1 1 images out10 0=3 1=1",
        "Split split 1 2 out10 logits 2",
        "Softmax softmax 1 1 2 probabilities 0=0 1=1",
    ]


@pytest.mark.usefixtures("pnnx_calls")
def test_a_part_that_ncnn_has_no_layer_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARAM_TEXT", PARAM_TEXT + "Tensor.reshape r 1 1 2 3\n")
    with pytest.raises(ExportError, match=r"ncnn has no layer for a part of it \(Tensor\.reshape\)"):
        ncnn_files.write_files(make_source(), tmp_path, ExportOptions())


def test_a_converter_that_writes_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="/opt/pnnx"))
    monkeypatch.setattr(own_process, "run_program", lambda *_: None)
    with pytest.raises(ExportError, match="the converter of ncnn failed"):
        ncnn_files.write_files(make_source(), tmp_path, ExportOptions())


@pytest.mark.usefixtures("pnnx_calls")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_the_lines_prepare_an_image_as_the_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpolation: str, resize_mode: str
) -> None:
    source = make_source(interpolation=interpolation, resize_mode=resize_mode)
    ncnn_files.write_files(source, tmp_path, ExportOptions())
    net = SimpleNamespace(opt=SimpleNamespace(), load_param=lambda _path: 0, load_model=lambda _path: 0)
    monkeypatch.setitem(sys.modules, "ncnn", SimpleNamespace(Net=lambda: net))
    names: dict[str, Any] = {"__name__": "load_model", "__file__": str(tmp_path / "load_model.py")}
    exec((tmp_path / "load_model.py").read_text(encoding="utf-8"), names)
    prepare_image = description_file.read_preparation(tmp_path)
    level = 1 / 255 / min(source.predictor.prep.std)
    for number, (height, width) in enumerate(SIZES):
        pixels = draw_image(height, width, number)
        found = names["prepare"](Image.fromarray(pixels))
        assert found.shape == (3, 64, 64)
        # Pillow rounds after each direction, torch at the end.
        assert found == pytest.approx(prepare_image(pixels)[0], abs=2.01 * level), (height, width)


@pytest.mark.usefixtures("ncnn_packages")
@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_images_of_every_shape_get_the_answers_of_the_model(tmp_path: Path, resize_mode: str) -> None:
    source = make_source(resize_mode=resize_mode, temperature=1.7)
    ncnn_files.write_files(source, tmp_path, ExportOptions())
    check_answers(source, ncnn_files.open_model(tmp_path), bound=3e-2, map_bound=0.1)


@pytest.mark.usefixtures("ncnn_packages")
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenet_v3_small"])
def test_float16_weights_halve_the_file(tmp_path: Path, name: str) -> None:
    check_half_weights(ncnn_files, make_source(name), tmp_path, "model.ncnn.bin", (3e-2, 3e-2))
