"""Disk space that runs may take on a server for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs import run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, series


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    yield run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes"))
    run_quota.declare_run_quota(None, None)


def test_without_a_declaration_nothing_is_limited(run: Run) -> None:
    run_quota.check_run(run, 1 << 60)
    run_quota.check_start(run.path.parent)


def test_a_run_may_write_as_much_as_one_may(run: Run) -> None:
    run_quota.declare_run_quota(1_000_000, None)
    run_quota.check_run(run, 900_000)
    with pytest.raises(RunError, match="may take 1 MB"):
        run_quota.check_run(run, 1_000_000)


def test_all_runs_together_have_a_quota_and_the_trash_counts(run: Run) -> None:
    run_quota.declare_run_quota(None, 1_000_000)
    run_quota.check_start(run.path.parent)
    (run.path.parent / ".bin").mkdir()
    (run.path.parent / ".bin" / "x").write_bytes(bytes(1_000_000))
    with pytest.raises(RunError, match="together"):
        run_quota.check_run(run, 1)
    with pytest.raises(RunError, match="together"):
        run_quota.check_start(run.path.parent)


def test_the_runs_of_one_visitor_have_a_quota_and_those_in_the_trash_count(run: Run) -> None:
    root, ann, ben = run.path.parent, run_quota.make_owner("ann"), run_quota.make_owner("ben")
    run_quota.declare_run_quota(None, None, 1_000_000)
    run_quota.write_owner(run, ann)
    (run.path / "x").write_bytes(bytes(900_000))
    run_quota.check_start(root, ann)
    run_quota.check_run(run, 1000)
    with pytest.raises(RunError, match="Your runs"):
        run_quota.check_run(run, 100_000)
    (root / ".bin").mkdir()
    run.path.rename(root / ".bin" / run.name)
    (root / ".bin" / run.name / "y").write_bytes(bytes(100_000))
    with pytest.raises(RunError, match="Your runs"):
        launch.start_training(TrainConfig(sample="shapes"), root, ann)
    with pytest.raises(RunError, match="Your runs"):
        series.start_series(TrainConfig(sample="shapes"), root, ann)
    run_quota.check_start(root, ben)
    assert run_store.list_run_names(root) == [], "what is refused leaves no run"
    assert "ann" not in ann
