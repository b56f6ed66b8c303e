"""int8: scales from training images, integers of eight bits in the file, and answers that stay near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ftlab.core.errors import ExportError
from ftlab.data.images import decode
from ftlab.evaluation import datasets
from ftlab.export import model_source
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import int8_network, onnx_files
from tests.support import drawn_images
from tests.support.exported_models import draw_image, make_run, make_source

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return model_source.load_model_source(make_run(folder, tmp_path_factory.mktemp("runs"), "resnet18"))


@pytest.fixture(scope="module")
def files(source: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    onnx_files.write_files(source, folder, ExportOptions(int8=True))
    return folder


def test_the_file_is_a_quarter_as_large(source: ModelSource, files: Path, tmp_path: Path) -> None:
    onnx_files.write_files(source, tmp_path, ExportOptions())
    for name in ("model.onnx", "network.onnx"):
        assert (files / name).stat().st_size < 0.27 * (tmp_path / name).stat().st_size


def test_answers_stay_near_on_images_that_gave_no_scale(source: ModelSource, files: Path) -> None:
    model = onnx_files.open_model(files)
    dataset = datasets.load_split_dataset(source.run, "val")  # type: ignore[arg-type]
    for item in dataset.items:
        pixels = decode.read_image(dataset.root / item.path)
        assert model(pixels).probabilities == pytest.approx(source.answer(pixels).probabilities, abs=0.1)


def test_weights_and_activations_are_integers_but_for_the_last_layers(files: Path) -> None:
    graph = onnx.load(files / "network.onnx").graph
    producers = {output: node for node in graph.node for output in node.output}
    layers = {node.output[0]: node for node in graph.node if node.op_type in ("Conv", "Gemm")}
    stored = {name for name, node in layers.items() if producers.get(node.input[1])}
    assert set(layers) - stored == {"class_maps", "logits"}
    for name in stored:
        weight, activation = (producers[layers[name].input[index]] for index in (1, 0))
        assert weight.op_type == activation.op_type == "DequantizeLinear"
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert all(types[producers[layers[name].input[1]].input[0]] == onnx.TensorProto.INT8 for name in stored)


def test_nothing_unused_is_left_in_the_file(files: Path) -> None:
    graph = onnx.load(files / "model.onnx").graph
    used = {name for node in graph.node for name in node.input}
    assert not [tensor.name for tensor in graph.initializer if tensor.name not in used]
    assert not [node.name for node in graph.node if node.op_type == "Constant" and node.output[0] not in used]


def test_resizing_is_not_quantized(files: Path) -> None:
    whole = onnxruntime.InferenceSession(files / "model.onnx")
    part = onnxruntime.InferenceSession(files / "network.onnx")
    assert [taken.name for taken in part.get_inputs()] == ["images"]
    quantized = ("QuantizeLinear", "DequantizeLinear")
    counts = [
        sum(node.op_type in quantized for node in onnx.load(files / name).graph.node)
        for name in ("model.onnx", "network.onnx")
    ]
    assert counts[0] == counts[1]
    assert whole.run(["logits"], {"image": draw_image(90, 70)[None]})[0].shape == (1, 3)


def test_scales_come_from_training_images_at_equal_distances(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(datasets.load_split_dataset(source.run, "train").items)  # type: ignore[arg-type]
    all_images = int8_network.read_calibration_images(source)
    assert all_images.shape == (count, 3, 64, 64)
    assert all_images.dtype == np.float32
    monkeypatch.setattr(int8_network, "CALIBRATION_COUNT", 3)
    few_images = int8_network.read_calibration_images(source)
    assert np.array_equal(few_images, all_images[[index * count // 3 for index in range(3)]])


def test_without_training_images_there_are_no_scales(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="leave out --int8"):
        int8_network.read_calibration_images(make_source())
    folder = drawn_images.tiny(tmp_path / "tiny")
    gone = model_source.load_model_source(make_run(folder, tmp_path / "runs"))
    for path in folder.rglob("*.*"):
        path.unlink()
    with pytest.raises(ExportError, match=r"training pictures of .* leave out --int8"):
        int8_network.read_calibration_images(gone)
