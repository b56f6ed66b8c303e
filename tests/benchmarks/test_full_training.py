"""Full fine-tunings of two commits: what counts of each, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import full_training
from benchmarks.process import PROJECT_ROOT


def test_epochs_from_the_second_one_on_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(command: list[str], checkout: Path, **_: str) -> None:
        assert checkout == PROJECT_ROOT
        run = Path(command[command.index("--runs") + 1], "a_run")
        run.mkdir(parents=True)
        paces = [None, 5.0, 20.0, 30.0, 31.0]
        events = [{"event": "epoch", "epoch": epoch, "images_per_second": pace} for epoch, pace in enumerate(paces)]
        lines = [json.dumps(event) for event in [{"event": "started"}, *events]]
        (run / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")

    monkeypatch.setattr(full_training, "run_python", train)
    assert full_training.measure_pace([], PROJECT_ROOT) == 30.0


def test_both_commits_train_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    received_arguments = []

    def measure(arguments: list[str], checkout: Path) -> float:
        received_arguments.append(arguments)
        return 28.0 if checkout == PROJECT_ROOT else 20.0

    monkeypatch.setattr(full_training, "measure_pace", measure)
    monkeypatch.setattr("sys.argv", ["full_training", str(tmp_path), "--against", str(PROJECT_ROOT / "." / "..")])
    with pytest.raises(SystemExit):
        full_training.main()
    assert "is no checkout of ftlab" in capsys.readouterr().err
    old = tmp_path / "old"
    (old / "ftlab").mkdir(parents=True)
    (old / "ftlab" / "__init__.py").touch()
    monkeypatch.setattr("sys.argv", ["full_training", str(tmp_path), "--against", str(old), "--rounds", "2"])
    full_training.main()
    row = json.loads(capsys.readouterr().out)["row"]
    assert row["figure"] == pytest.approx(1.4)
    assert "now 28 /s, 658560c 20 /s; medians of 2 rounds" in row["seen"]
    assert len(received_arguments) == 4
    assert all(arguments == received_arguments[0] for arguments in received_arguments)
    assert received_arguments[0][received_arguments[0].index("--batch-size") + 1] == "32"
