"""The files of a repository: timm and torchvision load them by themselves, and nothing in them names this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.data
import torch
from safetensors.torch import load_file

from ftlab.core.errors import ExportError
from ftlab.export.export_run import export_run
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.export.hub import repository
from ftlab.models import cam_layers, heads
from ftlab.models.heads import HeadSpec
from tests.support import drawn_images
from tests.support.exported_models import NAMES, draw_image, make_run, make_source

pytestmark = pytest.mark.usefixtures("one_thread")


def write(folder: Path, name: str, **changes: Any) -> Path:
    folder.mkdir()
    repository.write_files(make_source(name, temperature=1.5, **changes), folder, ExportOptions())
    return folder


def test_timm_loads_the_folder_with_classes_and_preprocessing(tmp_path: Path) -> None:
    source = make_source("tf_efficientnet_lite0")
    folder = write(tmp_path / "out", "tf_efficientnet_lite0")
    module: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = cam_layers.make_probe_images(64)
    with torch.no_grad():
        torch.testing.assert_close(module(images), source.predictor.network(images), rtol=1e-4, atol=1e-4)
    assert module.pretrained_cfg["label_names"] == list(NAMES)
    data = timm.data.config.resolve_model_data_config(module)
    assert (tuple(data["input_size"]), data["interpolation"], data["crop_mode"]) == ((3, 64, 64), "bicubic", "center")
    assert (data["mean"], data["std"]) == ([0.5] * 3, [0.5] * 3)
    assert int(64 / data["crop_pct"]) == 72


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenet_v2"])
@pytest.mark.parametrize("resize_mode", ["short", "squash"])
def test_the_librarys_own_transform_gives_nearly_the_same_probabilities(
    tmp_path: Path, name: str, resize_mode: str
) -> None:
    source = make_source(name, temperature=1.5, resize_mode=resize_mode)
    model = repository.open_model(write(tmp_path / "out", name, resize_mode=resize_mode))
    for height, width in ((120, 81), (64, 64), (300, 200)):
        pixels = draw_image(height, width)
        np.testing.assert_allclose(model(pixels).probabilities, source.answer(pixels).probabilities, atol=0.05)


def test_a_head_with_a_hidden_layer_is_told_to_take_another_format(tmp_path: Path) -> None:
    source = make_source()
    source.predictor.network.head = heads.build_head(1280, 3, HeadSpec(hidden=16)).eval()
    with pytest.raises(ExportError, match=r"no module of its library.*onnx"):
        repository.write_files(source, tmp_path, ExportOptions())


def test_the_repository_of_a_run_has_card_metadata_and_figures(tmp_path: Path) -> None:
    run = make_run(drawn_images.tiny(tmp_path / "tiny"), tmp_path / "runs")
    result = export_run(run, FORMATS["hub"], tmp_path / "out", ExportOptions())
    assert result.report is not None
    assert result.report.passed
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "model.json", "check.json", "confusion-val.png"),
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: ftlab\n")
    for line in ("pipeline_tag: image-classification", "model-index:", "type: accuracy", "![Confusion matrix of val]"):
        assert line in card
    lines = card.splitlines()
    headings = [number for number, line in enumerate(lines) if line.startswith("#")]
    assert {"## Limits", "## How to use", "## Figures", "## How to reproduce"} <= {lines[number] for number in headings}
    assert all(lines[number - 1] == lines[number + 1] == "" for number in headings)
    assert "--data tiny --backbone mobilenet_v2" in card
    assert str(tmp_path) not in "".join(path.read_text("utf-8", "replace") for path in folder.iterdir())
    assert load_file(folder / "model.safetensors")["classifier.1.weight"].shape == (3, 1280)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["label_names"] == list(NAMES)
