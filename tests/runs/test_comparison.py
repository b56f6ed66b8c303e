"""Runs side by side: what each came to and cost, and in which settings they differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io
from ftlab.runs import comparison
from ftlab.runs.directory import Run
from tests.support import fabricated_runs


def made(root: Path, epochs: int = 3, mode: str = "full") -> Run:
    return fabricated_runs.make(root, [*fabricated_runs.story(epochs=epochs), fabricated_runs.ended()], mode=mode)


def test_what_a_run_came_to_and_cost_is_read_from_its_events(tmp_path: Path) -> None:
    run = made(tmp_path)
    history = run.load_history()
    row = comparison.summarize_run(run, history)
    assert history.best_epoch is not None
    assert history.start_event is not None
    assert history.end_event is not None
    assert (row.name, row.status, row.mode, row.epochs) == (run.name, run.liveness.get_status(), "full", 3)
    assert (row.best, row.best_epoch) == (history.best_epoch.val_accuracy, history.best_epoch.epoch)
    assert (row.trainable, row.total) == (history.start_event.trainable, history.start_event.total)
    assert row.seconds >= max(history.end_event.seconds, sum(one.seconds for one in history.epochs))
    assert row.images_per_second == pytest.approx(3 * history.start_event.train_images / row.seconds)
    assert row.backbone == "EfficientNet-Lite0"


def test_its_score_on_test_is_that_of_its_evaluation_unless_the_weights_got_better_since(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.best_weights_path.write_bytes(b"weights")
    assert comparison.summarize_run(run, run.load_history()).test is None
    (run.path / "evaluation").mkdir()
    run.write_json("evaluation/test-best.json", {"right": 3, "count": 4, "weights": "seal"})
    assert comparison.summarize_run(run, run.load_history()).test == 0.75
    later = (run.path / "evaluation" / "test-best.json").stat().st_mtime_ns + 1_000_000_000
    os.utime(run.best_weights_path, ns=(later, later))
    assert comparison.summarize_run(run, run.load_history()).test is None


def test_size_is_that_of_all_files(tmp_path: Path) -> None:
    run = made(tmp_path)
    before = file_io.get_folder_size(run.path)
    run.best_weights_path.write_bytes(b"x" * 1000)
    (run.path / "epochs").mkdir(exist_ok=True)
    (run.path / "epochs" / "1.safetensors").write_bytes(b"x" * 500)
    assert file_io.get_folder_size(run.path) == before + 1500
    assert comparison.summarize_run(run, run.load_history()).weights == 1000


def test_a_run_that_has_only_begun_has_no_figures_yet(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, [fabricated_runs.started()])
    row = comparison.summarize_run(run, run.load_history())
    assert (row.best, row.best_epoch, row.epochs, row.images_per_second) == (None, None, 0, None)


def test_only_what_differs_is_listed_in_the_order_of_the_form() -> None:
    one = TrainConfig(sample="shapes", mode="full", learning_rate=1e-4, epochs=3)
    two = TrainConfig(sample="shapes", mode="frozen", learning_rate=None, epochs=3)
    found = comparison.find_differences([one, two])
    assert [(row.field_name, row.values) for row in found] == [
        (name, values)
        for name, values in (("mode", ("full", "frozen")), ("learning_rate", ("0.0001", "–")))
        if name in [row.field_name for row in found]
    ]
    assert {"mode", "learning_rate"} <= {row.field_name for row in found}
    assert found[0].label == "Mode"
    assert comparison.find_differences([one, one]) == []
