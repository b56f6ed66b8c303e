"""The marker of a queued run: what it keeps for whoever starts the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import private_folders
from ftlab.data.sources import links
from ftlab.runs import run_quota, run_store
from ftlab.runs.queue import marker


def test_everything_that_a_server_declares_for_its_trainings_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in marker.DECLARED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    run_quota.declare_run_quota(1, 2, 3)
    private_folders.declare_private_folders([tmp_path])
    links.refuse_outside_links()
    made = marker.make_marker("auto", "")
    for name in marker.DECLARED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in marker.build_job_environment(made).items():
        monkeypatch.setenv(name, value)
    assert links.are_outside_links_refused()
    assert private_folders.list_declared_folders() == (tmp_path.resolve(),)
    run = run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes"))
    with pytest.raises(Exception, match="0 MB"):
        run_quota.check_run(run, 100)


def test_it_is_read_as_it_was_written_and_only_once_removed(tmp_path: Path) -> None:
    run = run_store.create_run(tmp_path, TrainConfig(sample="shapes"))
    assert marker.read_marker(run) is None
    made = marker.make_marker("cuda", "ann", seconds=12.5, resumes=True, waits_here=True)
    marker.write_marker(run, made)
    assert marker.read_marker(run) == made
    assert made.is_waiter_alive()
    assert made.working_dir == str(Path.cwd())
    assert [marker.remove_marker(run), marker.remove_marker(run)] == [True, False]


def test_whoever_waits_without_a_sign_of_life_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_store.create_run(tmp_path, TrainConfig(sample="shapes"))
    marker.write_marker(run, marker.make_marker("auto", "", waits_here=True))
    assert not marker.is_waiter_silent(run)
    monkeypatch.setattr(marker, "_WAITER_TIMEOUT_SECONDS", -1.0)
    assert marker.is_waiter_silent(run)
