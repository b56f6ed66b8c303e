"""Priority of trainings: on a server for others they do not keep its answers waiting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ftlab.runs.jobs import priority
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from tests.support import ROOT

CODE = """
from ftlab.runs.jobs import priority; import psutil
priority.apply_declared_priority(); print(int(psutil.Process().nice()))
"""


def measure_niceness() -> int:
    """Niceness (on Windows the priority class) of a process that this one starts."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_training_lowers_its_priority_where_it_was_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(priority.PRIORITY_ENV, raising=False)
    usual = int(psutil.Process().nice())
    assert measure_niceness() == usual
    monkeypatch.setenv(priority.PRIORITY_ENV, "1")
    expected = psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else min(19, usual + priority.NICENESS)
    assert measure_niceness() == expected


def test_trainings_of_a_server_for_others_give_way_and_those_of_ones_own_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(priority.PRIORITY_ENV, "")
    for kind in ProfileKind:
        build_app(ServerProfile(None, tmp_path / "runs", kind))
        assert bool(os.environ.get(priority.PRIORITY_ENV)) == (kind is not ProfileKind.LOCAL)


def test_a_system_that_forbids_it_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(priority.PRIORITY_ENV, "1")
    monkeypatch.setattr(
        psutil.Process, "nice", lambda _process, _value=None: (_ for _ in ()).throw(psutil.AccessDenied())
    )
    priority.apply_declared_priority()
