"""The comparison of large folders with another checkout: what its rows say, on few pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import photographs, process, row, scale
from benchmarks.row import Measurement
from benchmarks.scale import TrainingResult

MEGABYTES = {("here", 100): 1000.0, ("here", 300): 1300.0, ("before", 100): 900.0, ("before", 300): 1500.0}


def test_scans_are_timed_and_trainings_compared_by_their_growth(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = process.PROJECT_ROOT / "tests" / ".."  # the same program under another name
    cut = photographs.cut_photographs
    monkeypatch.setattr(
        photographs, "cut_photographs", lambda *words, **named: cut(*words, **named | {"file_count": 100})
    )

    def measure_training(checkout: Path, data: Path) -> TrainingResult:
        side = "here" if checkout == process.PROJECT_ROOT else "before"
        return TrainingResult(9.0, MEGABYTES[side, int(data.name)], 0.9 if side == "here" else 0.95)

    monkeypatch.setattr(Path, "resolve", Path.absolute)
    monkeypatch.setattr(scale, "measure_training", measure_training)
    words = ["--against", str(before), "--count", "300", "--base-count", "100", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["scale", str(tiny_folder), *words])
    scale.main()
    lines = capsys.readouterr().out.splitlines()
    scan, memory, accuracy = [found for line in lines if (found := row.parse_measurement(line))]
    assert (scan.what, scan.wanted) == ("300 files tried, of the time before", 0.8)
    assert scan.figure is not None
    assert 0.2 < scan.figure < 5
    assert memory == Measurement(
        "Peak memory of a training on 300 pictures above one on 100, of that before",
        *(0.5, 0.6, True, "×"),
        "1300 MB (300 more than with 100) and 1500 MB (600 more than with 100); 9 s and 9 s",
    )
    assert accuracy.figure == pytest.approx(0.05 * 30)
    assert not accuracy.is_within_bound
