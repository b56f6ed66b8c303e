"""The gate at the beginning of a training: only one process passes it, and only once its run names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.queue import marker, start_gate
from tests.support import ROOT

PASS = "from ftlab.runs.queue import start_gate; import os; print(start_gate.pass_gate(), os.getpid())"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = run_store.create_run(tmp_path, TrainConfig(sample="shapes"))
    marker.write_marker(run, marker.make_marker("auto", ""))
    return run


def arrive(run: Run) -> subprocess.Popen[bytes]:
    """A process at the gate."""
    environment = {**os.environ, start_gate.GATE_ENV: str(run.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PASS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    )


def test_one_passes_when_it_is_told_and_the_run_names_it(run: Run) -> None:
    processes = [arrive(run), arrive(run)]
    assert run.liveness.get_status() == "queued", "nobody passes before"
    answers = [process.communicate(start_gate.GO_LINE)[0].decode().split() for process in processes]
    assert sorted(answer for answer, _ in answers) == ["False", "True"]
    (winner,) = [pid for answer, pid in answers if answer == "True"]
    assert run.read_json("pid")["pid"] == int(winner)
    assert not run.liveness.is_queued()


@pytest.mark.parametrize("said", [b"", b"go", b"stop\n"])
def test_nobody_passes_when_whoever_started_it_is_gone(run: Run, said: bytes) -> None:
    assert arrive(run).communicate(said)[0].startswith(b"False")
    assert run.liveness.is_queued()


def test_nobody_passes_for_a_run_that_was_cancelled(run: Run) -> None:
    process = arrive(run)
    marker.remove_marker(run)
    assert process.communicate(start_gate.GO_LINE)[0].startswith(b"False")


def test_a_command_of_a_person_has_no_gate() -> None:
    assert start_gate.pass_gate()
