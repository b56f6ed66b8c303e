"""A training that is killed, or whose disk fails, at any moment is afterwards the undisturbed one to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

TORTURE = ROOT / "tests" / "support" / "torture.py"
pytestmark = [pytest.mark.skipif(os.name == "nt", reason="it forks"), pytest.mark.timeout(1800)]


def tortured(*flags: str) -> tuple[dict[str, int], dict[str, list[str]]]:
    done = subprocess.run([sys.executable, str(TORTURE), "--json", *flags], capture_output=True, text=True)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    return told["tried"], told["wrong"]


def test_killed_at_ten_random_moments_it_is_the_same() -> None:
    tried, wrong = tortured("--kills", "10", "--no-points")
    assert not wrong
    assert sum(tried.values()) == 10
    assert len(tried) == 5, "in every way of training"


def test_disturbed_at_every_other_write_it_is_the_same() -> None:
    tried, wrong = tortured("--kills", "0", "--ways", "full", "--every", "2", "--distinct")
    assert not wrong
    calls = {group.partition(",")[0] for group in tried}
    assert calls == {"a text file", "an event", "weights or a state", "fsync", "a rename"}
    assert {group.partition(", ")[2] for group in tried} == {
        *("killed before it", "killed in its middle", "killed before the library's own rename"),
        *("killed after it", "the disk is full"),
    }
    assert min(tried.values()) >= 3
