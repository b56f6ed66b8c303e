"""Ranks of a machine fill one table of features, and machines exchange theirs: three real ranks over gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ftlab.core.errors import RunError
from ftlab.models.activations import mapped_rows
from ftlab.models.execution import features
from ftlab.models.execution.features import Features
from ftlab.runs.jobs.launch import build_environment
from ftlab.training.devices import rank_features
from ftlab.training.devices.rank_features import SplitTable
from tests.support import ROOT, rank_tables

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the ranks are forked")


def run_ranks(home: Path, precision: str, killed: str = "none") -> tuple[int, list[dict[str, Any]]]:
    """Exit status and reports of ranks 0 and 1 of one machine, and rank 2 of another."""
    program = ROOT / "tests" / "support" / "rank_tables.py"
    done = subprocess.run(
        [sys.executable, str(program), precision, killed],
        capture_output=True,
        text=True,
        env=build_environment(FTLAB_HOME=str(home)),
    )
    assert killed != "none" or not done.returncode, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@needs_fork
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_ranks_compute_each_image_once_and_all_have_the_bits_of_one_process(tmp_path: Path, precision: str) -> None:
    _, reports = run_ranks(tmp_path, precision)
    readable = [index for index in range(rank_tables.IMAGES) if index not in rank_tables.UNREADABLE]
    assert sorted(index for report in reports for index in report["own"]) == readable
    for report in reports:
        assert report["table"] == rank_tables.expect(precision)
        assert report["indices"] == readable
        assert report["skipped"] == [[index, f"{index}.jpg"] for index in rank_tables.UNREADABLE]
        assert report["left"] == [], "the files have no name any more"
    if sys.platform == "linux":
        assert len({report["file"] for report in reports}) == 2, "one file per machine"


@needs_fork
def test_killed_ranks_leave_no_file(tmp_path: Path) -> None:
    status, reports = run_ranks(tmp_path, "fp32", killed="1")
    assert status
    assert reports == [], "the others have noticed"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_process_alone_has_a_table_of_its_own() -> None:
    alone: Any = SimpleNamespace(num_processes=1)
    table = SplitTable((1, 2, 3), torch.float32, alone, features.allocate_in_memory)
    assert table.rank_part == features.ALL_IMAGES
    assert table.allocate_rows((1, 2, 3), torch.float32).shape == (1, 2, 3)
    found = Features(torch.ones(1, 2, 3), [0, 1], [])
    assert table.join_ranks(found) is found


def test_a_disk_that_is_full_on_one_machine_ends_the_ranks_of_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """This rank has its file, and deletes it."""
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(rank_features, "gather_object", lambda own: [*own, ("", "No space left on device")])
    first: Any = SimpleNamespace(num_processes=2, process_index=0, local_process_index=0, is_local_main_process=True)
    with pytest.raises(RunError, match="No space left on device"):
        SplitTable((1, 2, 3), torch.float32, first, features.allocate_in_memory)
    assert list((tmp_path / "home").iterdir()) == []


def test_the_file_of_a_process_that_was_killed_is_deleted_by_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    with subprocess.Popen([sys.executable, "-c", ""]) as creator:
        creator.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: creator.pid)
        stale_path = mapped_rows.create_shared_file((1, 1, 1), torch.float16)
    assert stale_path.exists()
    current_path = mapped_rows.create_shared_file((1, 2, 3), torch.float32)
    assert list((tmp_path / "home").iterdir()) == [current_path]
    assert current_path.stat().st_size == 24
    mapped_rows.create_shared_file((1, 2, 3), torch.float32)
    assert current_path.exists(), "its process lives"
