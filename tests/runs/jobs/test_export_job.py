"""The process of an export: what it says, and that it ends with whoever waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ftlab.core.errors import RunError
from ftlab.runs.jobs import export_job
from ftlab.runs.jobs.launch import build_environment


def list_for(runs: Path, out: Path) -> list[str]:
    return export_job.list_arguments("20260101-0000", runs, "onnx", out, "best", half=False, force=False)


def test_a_refusal_is_its_last_state(tmp_path: Path) -> None:
    *_, last = export_job.run_export(list_for(tmp_path, tmp_path / "out.zip"), threading.Event())
    assert "no run" in last.error
    assert last.answer is None


def test_a_stopped_export_has_neither_answer_nor_error(tmp_path: Path) -> None:
    stop = threading.Event()
    work = export_job.run_export(list_for(tmp_path, tmp_path / "out.zip"), stop)
    next(work)
    stop.set()
    *_, last = work
    assert (last.answer, last.error) == (None, "")


def test_an_export_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="longer than 0 minutes"):
        list(export_job.run_export(list_for(tmp_path, tmp_path / "out.zip"), threading.Event(), 0.0))


def test_the_process_ends_with_the_one_that_holds_its_input(tmp_path: Path) -> None:
    program = "from ftlab.runs.jobs import export_job; import time\n"
    program += "write = export_job.find_progress_writer(); write(40, 153); print('ready', flush=True); time.sleep(60)"
    progress_file = tmp_path / "progress"
    environment = build_environment(**{export_job.PROGRESS_FILE_ENV: str(progress_file)})
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        assert progress_file.read_text(encoding="utf-8") == "[40, 153, 0]\n"
        process.stdin.close()
        assert process.wait(10) == 1


def test_a_token_is_in_no_argument_variable_or_file_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, seen = "hf_CanaryOfTheJob", []
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    arguments = export_job.list_push_arguments("missing", tmp_path, "hub", "me/x", "best", private=True)
    error = ""
    for state in export_job.run_export(arguments, threading.Event(), token=token):
        error = state.error
        for process in psutil.Process().children():
            with suppress(psutil.Error):
                seen += [*process.cmdline(), *process.environ().values()]
        seen += [path.read_text(errors="replace") for path in temporary.rglob("*") if path.is_file()]
    assert "--token-stdin" in seen
    assert not any(token in text for text in seen)
    assert "no run" in error, "the process has read its first line and gone on"
    assert not list(temporary.iterdir()), "nothing is left"


def test_by_itself_the_command_writes_no_progress() -> None:
    assert export_job.PROGRESS_FILE_ENV not in os.environ
    assert export_job.find_progress_writer() is None
