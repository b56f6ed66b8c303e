"""A rank that is lost ends the others with one line that says which it was, and what to do."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import build_environment
from ftlab.training.devices import distributed, lost_ranks
from ftlab.training.devices.lost_ranks import RankRegister, report_lost_ranks
from tests.support import ROOT

CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:4711"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> RankRegister:
    """Two ranks, both of them this process."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(lost_ranks, "_LOOK_SECONDS", 0.0)
    return learn(monkeypatch)


def learn(monkeypatch: pytest.MonkeyPatch, **other: Any) -> RankRegister:
    """A register of this process and of another one like it but for some facts."""

    def gather(processes: list[Any]) -> list[Any]:
        (own,) = processes
        return [own, lost_ranks._RankProcess(**{**vars(own), "rank": 1, **other})]

    monkeypatch.setattr(lost_ranks, "gather_object", gather)
    register = RankRegister()
    register.learn(SimpleNamespace(num_processes=2, process_index=0))
    return register


def fail(register: RankRegister, error: Exception) -> str:
    with pytest.raises(RunError) as caught, report_lost_ranks(register, "lesson"):
        raise error
    return str(caught.value)


@pytest.mark.usefixtures("register")
def test_a_process_that_has_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told = fail(learn(monkeypatch, pid=gone.pid), RuntimeError(CLOSED))
    assert told.startswith(f"Process 1 (PID {gone.pid}) of 2 on {platform.node()} has ended")
    assert "python -m ftlab resume lesson" in told
    assert "torchrun --max-restarts 3" in told
    assert "\n" not in told


@pytest.mark.usefixtures("register")
def test_a_machine_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = fail(learn(monkeypatch, host="second"), RuntimeError(CLOSED + "\nException raised from …"))
    assert told.startswith(
        "A process on second (rank 1) can no longer be reached (Connection closed by peer [10.0.0.2]:4711), and this"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked")
def test_a_rank_that_stays_silent_in_a_step_is_given_up_and_named(tmp_path: Path) -> None:
    """As behind a link that drops packets; rank 1 is halted, and the limit is a second in place of five minutes."""
    script = ROOT / "tests" / "support" / "silent_rank.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=build_environment(FTLAB_HOME=str(tmp_path))
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert re.match(
        rf"A process on {re.escape(platform.node())} \(rank 1\) can no longer be reached "
        r"\(.*[Tt]imed out.*\), and this one ends too",
        line,
    )


def test_a_step_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[timedelta] = []
    monkeypatch.setattr(torch.distributed, "set_timeout", limits.append, raising=False)
    for seconds in (0.0, 60.0):
        distributed.limit_waiting(SimpleNamespace(num_processes=2), seconds)
    distributed.limit_waiting(SimpleNamespace(num_processes=1), 0.0)
    assert limits == [timedelta(minutes=5), timedelta(minutes=20)]


def test_before_the_ranks_have_met_the_error_itself_says_why(register: RankRegister) -> None:
    del register
    assert "The TCPStore timed out" in fail(RankRegister(), RuntimeError("The TCPStore timed out"))


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("a bug"), KeyError("gloo")])
def test_any_other_error_stays_what_it_is(register: RankRegister, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, report_lost_ranks(register, "lesson"):
        raise error
    assert caught.value is error


def test_without_other_ranks_none_is_lost(register: RankRegister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(RuntimeError), report_lost_ranks(register, "lesson"):
        raise RuntimeError(CLOSED)
    assert register.find_ended() == []
