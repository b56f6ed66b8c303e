"""What is compared when an older commit answers with a heat map."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import answers, process


def test_an_answer_in_process_is_timed_with_the_checkout_in_whose_folder_it_runs(
    tiny_folder: Path, tmp_path: Path
) -> None:
    (file, *_) = sorted(map(str, tiny_folder.rglob("*.png")))
    command = ["-c", answers.IN_PROCESS_SCRIPT, "mobilenet_v2", file]
    result, seconds = process.run_python(command, OMP_NUM_THREADS="1")
    assert 0 < result["seconds"] < seconds
    assert result["cpu_seconds"] > 0
    (tmp_path / "ftlab").mkdir()
    (tmp_path / "ftlab" / "__init__.py").write_text("raise RuntimeError('the other checkout')", encoding="utf-8")
    with pytest.raises(RuntimeError, match="the other checkout"):
        process.run_python(command, tmp_path)
