"""A converter in a process of its own: whatever happens to it, the caller gets one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ftlab.core.errors import ExportError
from ftlab.export import own_process

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def run_code(code: str, folder: Path | None = None) -> None:
    own_process.run_program("tiny", "a model", [sys.executable, "-c", code], folder)


def test_it_works_in_the_folder_that_it_is_given(tmp_path: Path) -> None:
    run_code("open('made.txt', 'w').close()", tmp_path)
    assert (tmp_path / "made.txt").is_file()


def test_a_module_of_ftlab_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_process.run_module("tiny", "a model", "ftlab", ["--version"])


def test_an_error_is_its_last_line() -> None:
    with pytest.raises(ExportError) as caught:
        run_code("print('much talk'); raise ValueError('no such operator')")
    assert str(caught.value) == (
        "a model cannot be exported: the converter of tiny failed. ValueError: no such operator"
    )


def test_a_silent_end_is_told_by_its_status() -> None:
    with pytest.raises(ExportError, match="exit status 3"):
        run_code("raise SystemExit(3)")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals that kill")
def test_a_crash_is_told_by_its_signal() -> None:
    with pytest.raises(ExportError, match="SIGKILL"):
        run_code(CRASH)


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(ExportError, match="no_such_program"):
        own_process.run_program("tiny", "a model", ["no_such_program"])
