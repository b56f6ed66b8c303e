"""Export of a run in a separate process (`export`), with its progress; it ends with whoever started it. No torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import build_environment

PROGRESS_FILE_ENV = "FTLAB_EXPORT_PROGRESS"
"""Environment variable: a file to which `export` writes its progress, one JSON object per line."""
TIMEOUT_SECONDS = 1800.0
"""Seconds after which an export is ended."""
_DEFAULT_RUNS_DIR = "runs"
"""What every command takes where `--runs` is not given."""
_POLL_INTERVAL_SECONDS = 0.3
_WRITE_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class ExportState:
    """Progress and result of an export.

    Attributes:
        completed: images compared.
        total: images to compare; 0 before the first.
        answer: what `export --json` printed, once it has ended; None before, or where it has printed nothing.
        error: the sentence with which it failed; empty if it did not.
    """

    completed: int = 0
    total: int = 0
    answer: dict[str, Any] | None = None
    error: str = ""


def list_arguments(
    run_name: str, runs_dir: object, format_name: str, out_path: object, weights_choice: str, *, half: bool, force: bool
) -> list[str]:
    """Return the arguments of `python -m ftlab` that export a run, as people type them: without its defaults."""
    optional_arguments = {
        "--runs": "" if str(runs_dir) == _DEFAULT_RUNS_DIR else str(runs_dir),
        "--which": "" if weights_choice == "best" else weights_choice,
    }
    arguments = ["export", run_name, "--format", format_name, "--out", str(out_path)]
    for flag, value in optional_arguments.items():
        arguments += [flag, value] if value else []
    return [*arguments, *(["--half"] if half else []), *(["--force"] if force else [])]


def run_export(
    arguments: Sequence[str], stop_event: threading.Event, timeout_seconds: float = TIMEOUT_SECONDS
) -> Iterator[ExportState]:
    """Export a run in a separate process, which ends when this iterator is closed.

    Args:
        arguments: as `list_arguments` returns them.
        stop_event: ends the export once it is set.
        timeout_seconds: seconds after which it is ended.

    Yields:
        The state at every poll; the last one has the answer or the error, and neither if it was stopped.

    Raises:
        RunError: it took too long.
    """
    deadline = time.monotonic() + timeout_seconds
    with tempfile.TemporaryDirectory(prefix="ftlab-export-", ignore_cleanup_errors=True) as scratch_folder:
        files = [Path(scratch_folder) / name for name in ("progress", "stdout", "stderr")]
        for file in files:
            file.touch()
        progress_file, output_file, error_file = files
        # Files, not pipes: a pipe that nobody empties would block the process once it is full. Its standard input is a
        # pipe that ends with this process, however it ends.
        with output_file.open("wb") as output_stream, error_file.open("wb") as error_stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "ftlab", *arguments, "--json"],
                stdin=subprocess.PIPE,
                stdout=output_stream,
                stderr=error_stream,
                env=build_environment(**{PROGRESS_FILE_ENV: str(progress_file)}),
            )
            try:
                while process.poll() is None and not stop_event.is_set():
                    if time.monotonic() > deadline:
                        raise RunError("run.export_time", minutes=round(timeout_seconds / 60))
                    lines = progress_file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
                    yield ExportState(*json.loads(lines[-1])) if lines else ExportState()
                    stop_event.wait(_POLL_INTERVAL_SECONDS)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdin:
                    process.stdin.close()
        if process.returncode and stop_event.is_set():
            yield ExportState()
            return
        output_lines = output_file.read_text(encoding="utf-8").strip().splitlines()
        error_lines = error_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        error = (error_lines[-1].removeprefix("ftlab: ") if error_lines else "?") if process.returncode else ""
        yield ExportState(answer=json.loads(output_lines[-1]) if output_lines else None, error=error)


def find_progress_writer() -> Callable[[int, int], None] | None:
    """Return what writes the progress of this process, an export that `run_export` started; else None.

    From then on this process ends with the one that started it.
    """
    progress_path = os.environ.get(PROGRESS_FILE_ENV)
    if not progress_path:
        return None
    threading.Thread(target=_end_with_input, daemon=True).start()
    last_written = 0.0

    def write_progress(completed: int, total: int) -> None:
        nonlocal last_written
        if time.monotonic() - last_written > _WRITE_INTERVAL_SECONDS:
            last_written = time.monotonic()
            with Path(progress_path).open("a", encoding="utf-8") as file:
                file.write(json.dumps([completed, total]) + "\n")

    return write_progress


def _end_with_input() -> None:
    """End this process once its standard input ends, which whoever started it holds open."""
    sys.stdin.buffer.read()
    os._exit(1)
