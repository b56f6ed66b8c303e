"""A folder of pictures: the answers of single predictions, in the order of the files, whatever runs the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ftlab.config import backbones
from ftlab.core.errors import ImageError
from ftlab.data.transforms import preprocess
from ftlab.inference import batch_predict
from ftlab.inference.predictor import Predictor
from ftlab.models import heads, network
from ftlab.models.execution import engines

NAMES = ("amber", "blue", "green")
SPEC = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> Predictor:
    net = network.build_network(SPEC, 3, pretrained=False, seed=1)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return Predictor(net, SPEC, preprocess.from_spec(SPEC), NAMES, "tiny")


@pytest.fixture
def files(tiny_folder: Path, tmp_path: Path) -> list[Path]:
    """Pictures, and among them a file that is none."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    found = sorted(path for path in tiny_folder.rglob("*") if path.is_file())[:6]
    return [*found[:3], broken, *found[3:]]


@pytest.mark.parametrize("worth", [1, 1_000], ids=["onnxruntime", "torch"])
def test_many_are_answered_as_each_alone(
    model: Predictor, files: list[Path], worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MIN_ONNX_VIEWS", worth)
    monkeypatch.setattr(engines, "MIN_ONNX_SPEEDUP", 0.0)
    assert batch_predict.choose_engine(model, len(files)).name == ("onnxruntime" if worth == 1 else "torch")
    for pieces in (1024, 2):  # answered together, and in pieces
        monkeypatch.setattr(batch_predict, "CHUNK_IMAGES", pieces)
        told = list(batch_predict.predict_files(model, files, 3))
        assert [file for file, _ in told] == files
        for file, top in told:
            if file.name == "broken.jpg":
                assert isinstance(top, ImageError)
                assert str(file) in str(top)
                continue
            assert not isinstance(top, ImageError)
            alone = model.predict(file, 3)
            assert [score.name for score in top] == [score.name for score in alone]
            assert [score.probability for score in top] == pytest.approx([s.probability for s in alone], abs=1e-5)


def test_of_files_that_are_all_broken_each_is_told(model: Predictor, files: list[Path]) -> None:
    told = list(batch_predict.predict_files(model, [files[3]] * 3, 3))
    assert [type(top) for _, top in told] == [ImageError] * 3
