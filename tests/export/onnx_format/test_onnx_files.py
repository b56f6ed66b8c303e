"""The ONNX files: the pixels of any image in, the answers of the trained model out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ftlab.data.transforms import preprocess
from ftlab.export.formats import ExportOptions
from ftlab.export.onnx_format import onnx_files, pixel_graph
from ftlab.models import heads
from tests.support.exported_models import NAMES, SIZES, check_answers, check_half_weights, draw_image, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

MODES = pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])


@MODES
@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_images_of_every_shape_get_the_answers_of_the_model(
    tmp_path: Path, interpolation: str, resize_mode: str
) -> None:
    source = make_source(interpolation=interpolation, resize_mode=resize_mode, temperature=1.7)
    onnx_files.write_files(source, tmp_path, ExportOptions())
    check_answers(source, onnx_files.open_model(tmp_path), bound=5e-3, map_bound=0.05)


@MODES
def test_the_pixels_are_resized_to_within_two_levels(interpolation: str) -> None:
    source = make_source(interpolation=interpolation)
    model = pixel_graph.build_pixel_graph(source.predictor.prep)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for height, width in SIZES:
        pixels = draw_image(height, width)
        (found,) = session.run(None, {"image": pixels[None]})
        crop = preprocess.resize_and_center_crop(pixels, source.predictor.prep)
        expected = preprocess.normalize_batch(crop[None], source.predictor.prep).numpy()
        levels = np.abs(found - expected) * 255 * np.array(source.predictor.prep.std).reshape(1, 3, 1, 1)
        assert levels.max() < 2.01
        assert (levels > 0.5).mean() < 0.08


def test_the_map_of_a_class_sums_to_its_score(tmp_path: Path) -> None:
    source = make_source()
    onnx_files.write_files(source, tmp_path, ExportOptions())
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    logits, maps = session.run(["logits", "class_maps"], {"image": draw_image(90, 70)[None]})
    bias = heads.find_classifier(source.predictor.network.head).bias
    assert maps.mean((2, 3)) + bias.numpy() == pytest.approx(logits, rel=1e-4, abs=1e-3)


def test_the_network_alone_takes_normalized_squares(tmp_path: Path) -> None:
    source = make_source()
    onnx_files.write_files(source, tmp_path, ExportOptions())
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.inference_mode():
        assert logits == pytest.approx(source.predictor.network(images).numpy(), rel=1e-4, abs=1e-4)
    (taken,) = session.get_inputs()
    assert taken.shape == [1, 3, 64, 64]


def test_a_network_without_such_maps_answers_without_them(tmp_path: Path) -> None:
    source = make_source("mobilenet_v3_small")  # has a hidden layer behind the pooling
    onnx_files.write_files(source, tmp_path, ExportOptions())
    pixels = draw_image(90, 70)
    answer = onnx_files.open_model(tmp_path)(pixels)
    assert answer.class_maps is None
    assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=5e-3)
    assert source.describe()["class_maps"] is False


def test_float16_weights_halve_the_file(tmp_path: Path) -> None:
    check_half_weights(onnx_files, make_source(), tmp_path, "model.onnx", (2e-2, 2e-2))


def test_classes_preprocessing_and_threshold_are_in_the_file(tmp_path: Path) -> None:
    source = make_source()
    onnx_files.write_files(source, tmp_path, ExportOptions())
    for name in ("model.onnx", "network.onnx"):
        metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / name).metadata_props}
        described = json.loads(metadata["ftlab"])
        assert described == json.loads(json.dumps(source.describe()))
        assert described["classes"] == list(NAMES)
        assert described["threshold"] == 0.4
        assert described["preprocessing"]["side"] == 64


def test_batchnorm_is_folded(tmp_path: Path) -> None:
    onnx_files.write_files(make_source(), tmp_path, ExportOptions())
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators


def test_attention_is_exported_although_torch_has_a_fast_path_without_an_operator(tmp_path: Path) -> None:
    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.TransformerEncoderLayer(1024, 4, 64, batch_first=True)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            tokens: torch.Tensor = self.layer(features[:, None])
            return tokens[:, 0]

    source = make_source("mobilenet_v3_small")
    head = torch.nn.Sequential(Attention(), source.predictor.network.head)
    source.predictor.network.head = head.eval().requires_grad_(False)  # of weights that learn it is never taken
    onnx_files.write_files(source, tmp_path, ExportOptions())
    pixels = draw_image(90, 70)
    answer = onnx_files.open_model(tmp_path)(pixels)
    assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=5e-3)
    assert torch.backends.mha.get_fastpath_enabled()
