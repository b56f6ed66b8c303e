"""What a training imports: only what it needs, for each library here takes a part of a second, or seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models as torchvision_models

from ftlab.config import backbones
from ftlab.models.pretrained import weights
from ftlab.runs.directory import Run

CODE = """
import json, sys
from ftlab.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""
NEVER = {"torch._dynamo", "torch._inductor", "sympy", "matplotlib", "gradio", "scipy"}
LIBRARIES = {"timm", "torchvision", "onnx", "onnxruntime"}


def train(folder: Path, runs: Path, *arguments: str) -> tuple[set[str], Run]:
    """Return what a training of its own process has imported at its end, and its run."""
    command = ["train", "--data", str(folder), "--runs", str(runs), "--epochs", "2", "--mode", "frozen", *arguments]
    completed = subprocess.run([sys.executable, "-c", CODE, *command], check=True, capture_output=True, text=True)
    status, modules = json.loads(completed.stdout.splitlines()[-1])
    assert status == 0, completed.stderr
    return set(modules), Run(max(runs.iterdir(), key=lambda path: path.stat().st_mtime_ns))


def read_result(run: Run) -> list[Any]:
    """Return what the epochs have computed, and the best weights."""
    epochs = [(epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in run.load_history().epochs]
    return [epochs, run.best_weights_path.read_bytes()]


@pytest.mark.parametrize(("backbone", "other_library"), [("mobilenet_v2", "timm"), ("tf_efficientnet_lite0", "")])
def test_where_features_are_kept_no_library_of_backbones_is_imported(
    backbone: str, other_library: str, tiny_folder: Path, tmp_path: Path
) -> None:
    spec = backbones.get_backbone_spec(backbone)
    if spec.source == "torchvision":
        file = weights.locate_weights(spec).file
        file.parent.mkdir(parents=True)
        torch.save(torchvision_models.get_model(backbone, weights=None).state_dict(), file)
    modules, first_run = train(tiny_folder, tmp_path / "runs", "--backbone", backbone)
    assert spec.source in modules
    assert not modules & {*NEVER, other_library}
    modules, second_run = train(tiny_folder, tmp_path / "runs", "--backbone", backbone, "--learning-rate", "0.001")
    assert not modules & (NEVER | LIBRARIES)
    # The head starts with the same weights, and the features are the same.
    assert read_result(second_run)[0][0] == read_result(first_run)[0][0]
    modules, third_run = train(tiny_folder, tmp_path / "runs", "--backbone", backbone)
    assert not modules & (NEVER | LIBRARIES)
    assert read_result(third_run) == read_result(first_run)


def test_a_backbone_is_built_after_all_where_its_features_are_gone(tiny_folder: Path, tmp_path: Path) -> None:
    _, first_run = train(tiny_folder, tmp_path / "runs")
    Path(os.environ["FTLAB_HOME"], "features.sqlite").unlink()
    modules, second_run = train(tiny_folder, tmp_path / "runs")
    assert "timm" in modules
    assert read_result(second_run) == read_result(first_run)
