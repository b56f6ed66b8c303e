"""A run that commit 658560c wrote, with settings under their old names: it loads, answers and goes on as it did then.

It was stopped after two of three epochs: timm's `test_efficientnet` from random weights, on the drawn images of
`drawn_images.tiny`. `expected.json` has that commit's answers, and the last epoch of the same training undisturbed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftlab
from ftlab.runs import comparison, run_table
from ftlab.runs.directory import Run
from tests.support import ROOT, drawn_images

OLD_RUN = ROOT / "tests" / "support" / "run_of_658560c"
NAME = "20261201-060008-timm.test_efficientnet.r160_in1k-scratch-8c68f533804d"
EXPECTED: dict[str, Any] = json.loads((OLD_RUN / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def old_run(tmp_path: Path) -> Run:
    """The run and its images, at a place of their own."""
    folder = drawn_images.tiny(tmp_path / "tiny")
    path = tmp_path / "runs" / NAME
    shutil.copytree(OLD_RUN, path)
    (path / "expected.json").unlink()
    for name in ("config.json", "split.json"):
        text = (path / name).read_text(encoding="utf-8")
        (path / name).write_text(text.replace("DATA_FOLDER", folder.as_posix()), encoding="utf-8")
    return Run(path)


def test_old_names_and_values_of_settings_are_read_as_todays(old_run: Run) -> None:
    config = old_run.load_resolved_config()
    assert (config.image_size, config.crop_size, config.hflip, config.random_erasing) == (32, 32, 0.3, 0.2)
    assert (config.nesterov, config.decay_norm_and_bias, config.gradual_unfreezing, config.fused) == (
        *(False, True, False),
        False,
    )
    assert (config.lr_step_epochs, config.lr_gamma, config.warmup_fraction) == (2, 0.5, 0.1)
    assert (config.grad_accum_steps, config.grad_clip_norm, config.monitor) == (2, 5.0, "loss")
    assert (config.normalization, config.augment_device, config.image_cache_mb) == ("unit", "cpu", 0)
    assert (config.num_workers, config.torch_num_threads) == (1, 1)
    assert old_run.load_config().crop_size is None


def test_its_events_tell_the_same_story(old_run: Run) -> None:
    history = old_run.load_history()
    assert [row.epoch for row in history.epochs] == [0, 1, 2]
    assert history.epochs[-1].val_loss == 1.0980418125788372
    assert old_run.liveness.get_status() == "stopped"
    (row,) = run_table.load_rows(old_run.path.parent, [NAME])
    assert (row.name, row.status) == (NAME, "stopped")
    assert comparison.summarize_run(old_run, history).name == NAME


def test_its_weights_give_the_same_answers(old_run: Run, tmp_path: Path) -> None:
    model = ftlab.load(old_run.path)
    for label, expected in EXPECTED["predictions"].items():
        predictions = model.predict(tmp_path / "tiny" / label / f"{label}_0.png", top=3)
        assert [prediction.name for prediction in predictions] == [name for name, _ in expected]
        probabilities = [probability for _, probability in expected]
        assert [prediction.probability for prediction in predictions] == pytest.approx(probabilities, abs=1e-4)


def test_it_goes_on_to_what_the_undisturbed_training_came_to(
    old_run: Run, say: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, log = say("resume", NAME, "--runs", old_run.path.parent)
    assert status == 0, log
    last = old_run.load_history().epochs[-1]
    for name, expected in EXPECTED["last_epoch"].items():
        assert getattr(last, name) == pytest.approx(expected, rel=1e-3), name
    assert old_run.liveness.get_status() == "finished"


def test_the_run_that_another_began_from_is_found_by_the_old_name_too(old_run: Run) -> None:
    stored = old_run.read_json("config.json")
    source = old_run.path.with_name(NAME.replace("8c68f533804d", "000000000000"))
    old_run.write_json("config.json", {**stored, "config": {**stored["config"], "init": str(source)}})
    (row,) = run_table.load_rows(old_run.path.parent, [NAME])
    assert row.source_run == source.name
