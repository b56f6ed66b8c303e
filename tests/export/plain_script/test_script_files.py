"""A run as a plain script: it runs without ftlab, on the same split, and gets as many validation images right."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.config.backbones import get_backbone_spec
from ftlab.core.errors import ExportError
from ftlab.evaluation.datasets import load_split_dataset
from ftlab.export.export_run import export_run
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.export.model_source import load_model_source
from ftlab.export.plain_script import script_files
from ftlab.export.plain_script.script_run import read_script_run
from ftlab.runs.directory import Run
from tests.support import ROOT, drawn_images
from tests.support.exported_models import make_source
from tests.support.short_trainings import beginning, go

pytestmark = pytest.mark.usefixtures("one_thread")

SCRIPT = FORMATS["script"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(scope="module")
def hard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_images.overlapping(tmp_path_factory.mktemp("pictures") / "hard")


@pytest.fixture
def begin(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    return beginning(folder, tmp_path / "runs", monkeypatch)


def exported(run: Run, out: Path) -> str:
    export_run(run, SCRIPT, out, ExportOptions())
    return (out / "train.py").read_text(encoding="utf-8")


def best_count(output: str) -> int:
    found = re.search(r"best: epoch \d+, (\d+) of \d+ validation images", output)
    assert found, output
    return int(found[1])


def run_script(script: Path, folder: Path) -> str:
    """By a Python that knows neither this folder nor its variables: `-I`."""
    command = [sys.executable, "-I", "-c", LIMIT, str(script), str(folder)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LIMIT = (
    "import sys, runpy, torch; torch.set_num_threads(1); sys.argv = sys.argv[1:]; sys.modules['ftlab'] = None; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""One thread, and an import of ftlab fails."""


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "scratch", "augment": "flip"},
        {"mode": "frozen", "learning_rate": 0.1, "batch_size": 15, "monitor": "loss"},
        {"mode": "full", "augment": "none", "learning_rate": 1e-3, "schedule": "step"},
    ],
    ids=lambda settings: settings["mode"],
)
def test_the_script_gets_as_many_images_right_as_the_run(
    begin: Callable[..., Run], hard_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    run = begin(data=str(hard_folder), **{"val_share": 0.3, "batch_size": 16, "epochs": 4, **settings})
    go(run)
    text = exported(run, tmp_path / "out")
    # There are no pretrained weights of the small backbone: the run started from random ones, and so does the script.
    (tmp_path / "out" / "train.py").write_text(text.replace("pretrained=True", "pretrained=False"), encoding="utf-8")
    output = run_script(tmp_path / "out" / "train.py", hard_folder)
    val_count = len(load_split_dataset(run, "val").items)
    expected = [round((epoch.val_accuracy or 0) * val_count) for epoch in run.load_history().epochs if epoch.epoch]
    counts = [int(count) for count in re.findall(r"\((\d+) of 45\)", output)]
    assert counts == [pytest.approx(count, abs=2) for count in expected]
    assert best_count(output) in counts
    assert 20 <= max(counts) <= 43, "neither chance nor all: a count that says something"
    assert (tmp_path / "out" / "best.pt").is_file()


def test_cached_features_give_the_losses_of_the_run(begin: Callable[..., Run], folder: Path, tmp_path: Path) -> None:
    run = begin(mode="frozen", epochs=4, batch_size=4)
    go(run)
    text = exported(run, tmp_path / "out").replace("pretrained=True", "pretrained=False")
    (tmp_path / "out" / "train.py").write_text(text, encoding="utf-8")
    losses = [
        float(loss)
        for loss in re.findall(r"validation loss ([\d.]+)", run_script(tmp_path / "out" / "train.py", folder))
    ]
    expected = [epoch.val_loss for epoch in run.load_history().epochs if epoch.epoch]
    assert losses == pytest.approx(expected, abs=2e-3)


def test_the_split_is_that_of_the_run_by_relative_paths(
    begin: Callable[..., Run], folder: Path, tmp_path: Path
) -> None:
    run = begin(mode="scratch", epochs=1)
    go(run)
    text = exported(run, tmp_path / "out")
    split = json.loads((tmp_path / "out" / "split.json").read_text(encoding="utf-8"))
    assert split["classes"] == ["amber", "blue", "green"]
    for name in ("train", "val"):
        assert split[name] == [[item.path, item.label] for item in load_split_dataset(run, name).items]
        assert all((folder / path).is_file() for path, _ in split[name])
    assert str(folder.parent) not in text, "a folder of this machine"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train.py", "split.json", "README.md"}
    assert "not compared" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_what_cannot_be_repeated_is_listed_first_and_nothing_is_promised(
    begin: Callable[..., Run], tmp_path: Path
) -> None:
    run = begin(mode="scratch", epochs=1, ema_decay=0.9, mixup=0.2)
    go(run)
    head = exported(run, tmp_path / "out").partition("import json")[0]
    assert "mixup = 0.2" in head
    assert "ema_decay = 0.9" in head
    assert "images right" not in head


EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "hue", "grayscale", "random_erasing", "vflip"), 0.2),
    **{"augment": "crop", "crop_size": 40, "rotate": 10.0, "blur": 1.0, "resize_mode": "squash"},
    **{"head_hidden": 8, "dropout": 0.1, "label_smoothing": 0.1, "class_weights": "balanced", "grad_clip_norm": 1.0},
    **{"optimizer": "sgd", "schedule": "onecycle", "loss_reduction": "sum", "batchnorm": "train", "monitor": "loss"},
}


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "scratch", "batch_size": 17},
        {"mode": "full", "schedule": "step", "weight_decay": 0.0, "head_init": "xavier"},
        {"mode": "frozen", "augment": "none", "schedule": "constant", "warmup_fraction": 0.0},
        {"mode": "frozen", "cached_views": 4, "schedule": "exponential", "lr_step_epochs": 1},
        {"mode": "frozen", "features": "fresh", **EVERYTHING},
    ],
)
def test_the_text_is_formatted_and_short(begin: Callable[..., Run], tmp_path: Path, settings: dict[str, Any]) -> None:
    run = begin(epochs=2, **settings)
    go(run)
    text = exported(run, tmp_path / "out")
    compile(text, "train.py", "exec")
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.splitlines()) < 145
    ruff = [sys.executable, "-m", "ruff"]
    script = str(tmp_path / "out" / "train.py")
    check = [*ruff, "check", "--isolated", "--line-length", "120", "--select", "E,F,W,I,B,UP", script]
    for command in (check, [*ruff, "format", "--isolated", "--line-length", "120", "--diff", script]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("settings", [{"features": "fresh", **EVERYTHING}, {"cached_views": 4, "batch_size": 17}])
def test_a_script_with_rare_settings_runs(
    begin: Callable[..., Run], folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    run = begin(mode="frozen", epochs=1, **settings)
    go(run)
    text = exported(run, tmp_path / "out").replace("pretrained=True", "pretrained=False")
    (tmp_path / "out" / "train.py").write_text(text, encoding="utf-8")
    best_count(run_script(tmp_path / "out" / "train.py", folder))


def test_a_model_without_a_run_has_no_script(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="comes from no run"):
        script_files.write_files(make_source(), tmp_path, ExportOptions())


@pytest.mark.parametrize(
    ("name", "mode", "is_told"),
    [
        ("tf_efficientnet_lite0", "frozen", True),
        ("tf_efficientnet_lite0", "scratch", False),
        ("mobilenet_v2", "full", False),
    ],
)
def test_the_readme_says_where_weights_are_without_a_network(
    begin: Callable[..., Run], tmp_path: Path, name: str, mode: str, *, is_told: bool
) -> None:
    run = begin(mode="scratch", epochs=1)
    go(run)
    script_run = read_script_run(load_model_source(run, "best"))
    config = dataclasses.replace(script_run.config, mode=mode)
    script_run = dataclasses.replace(script_run, config=config, spec=get_backbone_spec(name))
    script_files.write_side_files(script_run, tmp_path, "train.py")
    assert ("second argument" in (tmp_path / "README.md").read_text(encoding="utf-8")) == is_told
