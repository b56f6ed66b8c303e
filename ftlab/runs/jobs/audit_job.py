"""Audit of a data set in a separate process (`scan --deep`), with its progress. No torch.

The report is stored by `audit/findings.py`. Closing the iterator ends the process, and so does `job_stop.request_stop`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import build_environment

PROGRESS_FILE_ENV = "FTLAB_DOCTOR"
"""Environment variable: a file to which `scan --deep` writes its progress, one JSON object per line."""
_POLL_INTERVAL_SECONDS = 0.3


def run_audit(
    folder: Path, scan_arguments: Sequence[str], stop_event: threading.Event | None = None
) -> Iterator[dict[str, Any]]:
    """Audit a data set in a separate process.

    Args:
        folder: folder of images, zip file or manifest.
        scan_arguments: further arguments of `scan`.
        stop_event: ends the audit without an error once it is set.

    Yields:
        The progress at every poll: `stage`, `done`, `total`; empty while the process starts.

    Raises:
        RunError: the process failed; the message holds the last line of its error output.
    """
    stop_event = stop_event or threading.Event()
    command = [sys.executable, "-m", "ftlab", "scan", str(folder), "--deep", "--json", *scan_arguments]
    # Windows does not remove files that are still open; leftovers of the scratch folder are harmless.
    with tempfile.TemporaryDirectory(prefix="ftlab-doctor-", ignore_cleanup_errors=True) as scratch_folder:
        progress_file, error_file = Path(scratch_folder) / "told", Path(scratch_folder) / "said"
        progress_file.touch()
        # Files, not pipes: a pipe that nobody empties would block the process once it is full.
        with error_file.open("wb") as error_stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=error_stream,
                env=build_environment(**{PROGRESS_FILE_ENV: str(progress_file)}),
            )
            try:
                while process.poll() is None and not stop_event.is_set():
                    yield _read_last_progress(progress_file)
                    stop_event.wait(_POLL_INTERVAL_SECONDS)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode and not stop_event.is_set():
            lines = error_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RunError("run.examine", cause=lines[-1].removeprefix("ftlab: ") if lines else process.returncode)


def _read_last_progress(progress_file: Path) -> dict[str, Any]:
    """Return the last complete line of the progress file, empty where there is none yet."""
    lines = progress_file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return dict(json.loads(lines[-1])) if lines else {}
