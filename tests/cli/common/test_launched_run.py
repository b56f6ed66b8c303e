"""A process trains the run that was made for it, and torchrun's ranks go on with theirs when they are started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.cli.common import launched_run
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.queue import start_gate


def test_the_run_that_the_page_made_is_taken_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes"))
    monkeypatch.setenv(start_gate.RUN_FOLDER_ENV, str(run.path))
    settings = TrainConfig(sample="shapes")
    assert launched_run.create_run(settings, str(tmp_path / "runs")).path == run.path
    assert launched_run.create_run(settings, str(tmp_path / "runs")).path != run.path


def test_after_a_restart_by_torchrun_the_run_of_the_same_call_is_trained_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = TrainConfig(sample="shapes")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "first")
    run = launched_run.create_run(config, str(tmp_path))
    run_store.create_run(tmp_path, config)  # of someone else, meanwhile
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert launched_run.create_run(config, str(tmp_path)).path == run.path
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "second")
    assert launched_run.create_run(config, str(tmp_path)).path != run.path
