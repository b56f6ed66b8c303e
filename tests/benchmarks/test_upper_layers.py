"""Trainings of the upper layers beside others: what is measured of them, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import upper_layers
from benchmarks.upper_layers import TrainingResult


def test_a_training_is_measured_from_its_second_epoch_on(tiny_folder: Path, tmp_path: Path) -> None:
    arguments = [
        "--data",
        str(tiny_folder),
        "--epochs",
        "3",
        "--image-size",
        "64",
        "--resize",
        "64",
        "--val-share",
        "0.25",
    ]
    found = upper_layers.measure_training([*arguments, *upper_layers.WAYS["cached"]], tmp_path)
    assert found.pace > 0
    assert 0 <= found.best_count <= found.image_count == 6, "two of each class"
    assert found.cache_megabytes > 0
    assert found.peak_megabytes > 100


def test_ratios_and_differences_are_those_of_the_rounds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paces = {"all": 10.0, "fresh": 30.0, "cached": 50.0, "frozen": 9000.0, "top": 40.0}
    counts = {"all": 90, "fresh": 93, "cached": 94, "frozen": 97, "top": 96}

    def measure(_: list[str], home: Path) -> TrainingResult:
        way = home.name.rstrip("0123456789")
        return TrainingResult(paces[way], counts[way], 100, 60.0, 11.0, 900.0)

    monkeypatch.setattr(upper_layers, "measure_training", measure)
    monkeypatch.setattr("sys.argv", ["upper_layers", str(tmp_path), "--rounds", "2"])
    upper_layers.main()
    rows = [json.loads(line)["row"] for line in capsys.readouterr().out.splitlines()]
    assert [row["figure"] for row in rows] == [5.0, pytest.approx(0.01), 1]
    assert "cached: 50/s, 60 s, 94, 94 of 100 right, 900 MB of memory, 11 MB kept" in rows[0]["seen"]
