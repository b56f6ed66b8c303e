"""Export or push of a run in a separate process (`export`, `push`), with its progress; it ends with whoever started it.

No torch. A token reaches the process by its standard input alone: arguments and environment of a process can be read by
others, and files stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import build_environment

PROGRESS_FILE_ENV = "FTLAB_EXPORT_PROGRESS"
"""Environment variable: a file to which the process writes its progress, one JSON list per line."""
TOKEN_FLAG = "--token-stdin"
"""Flag of `push`: the token is the first line of its standard input."""
TIMEOUT_SECONDS = 1800.0
"""Seconds after which an export is ended."""
DEFAULT_PUSH_FORMAT = "hub"
"""Format of `push` where `--format` is not given."""
_DEFAULT_RUNS_DIR = "runs"
"""What every command takes where `--runs` is not given."""
_POLL_INTERVAL_SECONDS = 0.3
_WRITE_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class ExportState:
    """Progress and result of an export or push.

    Attributes:
        completed: images compared.
        total: images to compare; 0 before the first.
        upload_bytes: size of all files, once they are being uploaded; 0 before.
        answer: what `--json` printed, once the process has ended; None before, or where it has printed nothing.
        error: the sentence with which it failed; empty if it did not.
    """

    completed: int = 0
    total: int = 0
    upload_bytes: int = 0
    answer: dict[str, Any] | None = None
    error: str = ""


def list_arguments(
    run_name: str,
    runs_dir: object,
    format_name: str,
    out_path: object,
    weights_choice: str,
    *,
    half: bool = False,
    int8: bool = False,
    force: bool = False,
) -> list[str]:
    """Return the arguments of `python -m ftlab` that export a run, as people type them: without its defaults."""
    arguments = ["export", run_name, "--format", format_name, "--out", str(out_path)]
    arguments += _list_run_flags(runs_dir, weights_choice)
    flags = {"--half": half, "--int8": int8, "--force": force}
    return [*arguments, *(flag for flag, is_set in flags.items() if is_set)]


def list_push_arguments(
    run_name: str, runs_dir: object, format_name: str, repo_id: str, weights_choice: str, *, private: bool
) -> list[str]:
    """Return the arguments of `python -m ftlab` that push a run, as people type them: without its defaults."""
    arguments = ["push", run_name, "--to", repo_id]
    arguments += [] if format_name == DEFAULT_PUSH_FORMAT else ["--format", format_name]
    return [*arguments, *_list_run_flags(runs_dir, weights_choice), *(["--private"] if private else [])]


def _list_run_flags(runs_dir: object, weights_choice: str) -> list[str]:
    """Return the flags for where the run is and which of its weights are meant; none for the defaults."""
    flags = [] if str(runs_dir) == _DEFAULT_RUNS_DIR else ["--runs", str(runs_dir)]
    return flags if weights_choice == "best" else [*flags, "--which", weights_choice]


def run_export(
    arguments: Sequence[str],
    stop_event: threading.Event,
    timeout_seconds: float = TIMEOUT_SECONDS,
    token: str | None = None,
) -> Generator[ExportState, None, None]:
    """Export or push a run in a separate process, which ends when this iterator is closed.

    Args:
        arguments: as `list_arguments` or `list_push_arguments` returns them.
        stop_event: ends the export once it is set.
        timeout_seconds: seconds after which it is ended.
        token: to push with; None for that of this machine's user.

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
            token_flags = [] if token is None else [TOKEN_FLAG]
            process = subprocess.Popen(
                [sys.executable, "-m", "ftlab", *arguments, *token_flags, "--json"],
                stdin=subprocess.PIPE,
                stdout=output_stream,
                stderr=error_stream,
                env=_build_environment(progress_file),
            )
            try:
                _send_token(process, token)
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


def _build_environment(progress_file: Path) -> dict[str, str]:
    """Return the environment of the process, whose temporary folder lies beside the file: it goes with ours.

    Args:
        progress_file: of the process.
    """
    (work_folder := progress_file.with_name("work")).mkdir()
    # What a killed process leaves there is deleted too.
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work_folder))
    return build_environment(**{PROGRESS_FILE_ENV: str(progress_file), **folders})


def _send_token(process: subprocess.Popen[bytes], token: str | None) -> None:
    """Send a token to the standard input of a process, which stays open.

    Args:
        process: one that waits for it, unless there is none.
        token: the token; None for none.
    """
    if token is None or process.stdin is None:
        return
    with suppress(BrokenPipeError):  # the process has ended, and has said why
        process.stdin.write(f"{token}\n".encode())
        process.stdin.flush()


def read_token() -> str:
    """Return the token in the first line of the standard input, which may go on after it."""
    return sys.stdin.buffer.readline().decode("utf-8", "replace").strip()


class ProgressWriter:
    """Writer of the progress of a process that `run_export` started."""

    def __init__(self, path: str) -> None:
        """Write to a file.

        Args:
            path: of the file, which exists.
        """
        self._path, self._last_written = Path(path), 0.0

    def __call__(self, completed: int, total: int, upload_bytes: int = 0) -> None:
        """Write how far the work is, at most some times a second.

        Args:
            completed: as `ExportState` has it.
            total: as `ExportState` has it.
            upload_bytes: as `ExportState` has it.
        """
        if upload_bytes or time.monotonic() - self._last_written > _WRITE_INTERVAL_SECONDS:
            self._last_written = time.monotonic()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([completed, total, upload_bytes]) + "\n")


def find_progress_writer() -> ProgressWriter | None:
    """Return what writes the progress of this process, an export that `run_export` started; else None.

    From then on this process ends with the one that started it.
    """
    progress_path = os.environ.get(PROGRESS_FILE_ENV)
    if not progress_path:
        return None
    threading.Thread(target=_end_with_input, daemon=True).start()
    return ProgressWriter(progress_path)


def _end_with_input() -> None:
    """End this process once its standard input ends, which whoever started it holds open."""
    sys.stdin.buffer.read()
    os._exit(1)
