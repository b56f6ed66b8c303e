"""Models for the tests of exports: small networks with random weights, runs of them, and images of many shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset import scan
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.export.exported_answer import ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.predictor import Predictor
from ftlab.models import heads, network, weights_file
from ftlab.models.network import Network
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from tests.support.random_networks import settle_norms, tiled_draws

NAMES = ("amber", "blue", "green")
SIZES = ((64, 64), (120, 81), (80, 301), (500, 333), (37, 64), (1, 90), (640, 480))
"""Heights and widths of images."""


def build_loud_network(spec: backbones.BackboneSpec, seed: int = 1) -> Network:
    """Random weights whose head speaks up: probabilities far from equal."""
    with tiled_draws():
        net = network.build_network(spec, len(NAMES), pretrained=False, seed=seed)
    settle_norms(net)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return net.eval()


def make_source(name: str = "mobilenet_v2", *, temperature: float = 1.0, **changes: Any) -> ModelSource:
    """A model of a backbone that looks at 64 × 64 pixels; `changes` are those of its preprocessing."""
    spec = dataclasses.replace(backbones.get_backbone_spec(name), side=64, resize=72)
    prep = dataclasses.replace(preprocess.from_spec(spec), exact_decoding=True, **changes)
    decision = DecisionRule("", temperature, 0.4, 9, 8)
    return ModelSource(Predictor(build_loud_network(spec), spec, prep, NAMES, "a model", {}, decision))


def make_run(folder: Path, runs: Path, name: str = "mobilenet_v2") -> Run:
    """A run on a folder with the classes of `NAMES`, with weights that nobody trained."""
    spec = dataclasses.replace(backbones.get_backbone_spec(name), side=64, resize=72)
    run = run_store.create_run(runs, TrainConfig(data=str(folder), backbone=name, torch_num_threads=1))
    run.write_json("split.json", scan.scan(folder).to_json())
    row = dataclasses.asdict(spec)
    prep = preprocess.from_spec(spec).to_json()
    run.write_json("model.json", {"row": row, "classes": list(NAMES), "preprocessing": prep})
    state = build_loud_network(spec).state_dict()
    weights_file.save_tensors(run.best_weights_path, state, {"epoch": 1, "val_accuracy": 0.5})
    return run


def draw_image(height: int, width: int, seed: int = 0) -> ImageArray:
    """Smooth colours with some noise: as photographs, it changes under every filter, and no value is at its limit."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / dice.uniform(5, 40) + dice.uniform(0, 6)) + np.cos(y / dice.uniform(5, 40)) for _ in range(3)]
    pixels = 128 + 45 * np.stack(waves, 2) + dice.normal(0, 8, (height, width, 3))
    return pixels.clip(0, 255).round().astype(np.uint8)


def check_answers(source: ModelSource, exported: ExportedModel, *, bound: float, map_bound: float) -> None:
    """Images of every shape get the answers of the model; maps are compared where both are scaled to a maximum of 1."""
    for number, (height, width) in enumerate(SIZES):
        pixels = draw_image(height, width, number)
        expected, found = source.answer(pixels), exported(pixels)
        assert found.probabilities == pytest.approx(expected.probabilities, abs=bound), (height, width)
        assert found.class_maps is not None
        assert expected.class_maps is not None
        top = int(expected.probabilities.argmax())
        maps = [np.maximum(answer.class_maps[top], 0) for answer in (expected, found)]  # type: ignore[index]
        assert maps[0] / maps[0].max() == pytest.approx(maps[1] / maps[1].max(), abs=map_bound)


def check_half_weights(
    format_module: ModuleType, source: ModelSource, folder: Path, file_name: str, bounds: tuple[float, float]
) -> None:
    """Weights as float16 halve a file; `bounds` are those of a probability, of float32 and of float16."""
    pixels = draw_image(90, 70)
    sizes = []
    for half, bound in zip((False, True), bounds, strict=True):
        place = folder / str(half)
        place.mkdir()
        format_module.write_files(source, place, ExportOptions(half_weights=half))
        sizes.append((place / file_name).stat().st_size)
        answer = format_module.open_model(place)(pixels)
        assert answer.probabilities == pytest.approx(source.answer(pixels).probabilities, abs=bound)
    assert sizes[1] < 0.55 * sizes[0]
