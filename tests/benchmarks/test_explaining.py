"""The pace of a command that explains a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import explaining

PROGRAM = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--out") - 1])
for number, file in enumerate(sorted(folder.iterdir())):
    time.sleep({warm} if number < 8 else {steady})
    print(file.resolve(strict=True).name, flush=True)
sys.exit({status})
"""


def make_worktree(folder: Path, warm: float, steady: float, status: int = 0) -> Path:
    """Write an ftlab that takes so many seconds for each of the first eight files and of the others."""
    (folder / "ftlab").mkdir(parents=True)
    program = PROGRAM.format(warm=warm, steady=steady, status=status)
    (folder / "ftlab" / "__main__.py").write_text(program, encoding="utf-8")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.jpg").touch()
    return [tmp_path / "a.jpg"] * 20


def test_the_pace_is_that_of_a_warm_command(tmp_path: Path, files: list[Path]) -> None:
    pace = explaining.measure_pace(make_worktree(tmp_path / "w", 0.05, 0.01), None, files, [])
    assert 20 < pace <= 100


def test_a_command_that_fails_has_no_pace(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(SystemExit, match="explained 20 of 20"):
        explaining.measure_pace(make_worktree(tmp_path / "w", 0.0, 0.0, status=2), tmp_path, files, [])
