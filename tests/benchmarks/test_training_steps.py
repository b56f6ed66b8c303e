"""Steps of full fine-tuning under other choices: which are measured, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import training_steps
from benchmarks.training_steps import CHOICES
from ftlab.core import machine
from ftlab.models.execution import lean_activations


def test_each_choice_is_compared_with_the_step_as_it_is_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def run(arguments: list[str], **environment: str) -> tuple[dict[str, float], float]:
        name = arguments[-1]
        assert environment == CHOICES[name].environment
        asked.append(name)
        return {"seconds": 0.3 if name == "copied" else 0.2, "peak_mb": 1500.0}, 1.0

    monkeypatch.setattr(training_steps, "run_python", run)
    monkeypatch.setattr("sys.argv", ["training_steps", str(tmp_path), "--choices", "copied", "--rounds", "2"])
    training_steps.main()
    row = json.loads(capsys.readouterr().out)["row"]
    assert asked == ["default", "copied"] * 2
    assert row["figure"] == pytest.approx(1.5)
    assert row["seen"] == "300 and 200 ms, 1,500 and 1,500 MB, 2 rounds of 8 steps"


@pytest.mark.parametrize(
    ("name", "place", "attribute"),
    [
        ("copied", lean_activations, "run_training_forward"),
        ("given_back", machine, "keep_freed_memory"),
        ("contiguous", torch, "channels_last"),
    ],
)
def test_a_choice_changes_what_a_training_calls(
    name: str, place: Any, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = getattr(place, attribute)
    monkeypatch.setattr(place, attribute, usual)  # restored at the end
    CHOICES[name].apply()
    assert getattr(place, attribute) is not usual
