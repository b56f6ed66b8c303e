"""Have another process examine a data set (`scan --deep`), and be told how far it is. No torch here.

The report is found where the doctor keeps it (`audit/findings.py`). Whoever closes the iterator ends the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import build_environment

PROGRESS_FILE_ENV = "FTLAB_DOCTOR"
"""Environment variable: a file to which `scan --deep` writes how far it is, a JSON object a line."""
_POLL_INTERVAL_SECONDS = 0.3


def run_audit(folder: Path, scan_arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """How far it is, again and again: `stage`, `done`, `total`; nothing yet while it starts.

    Args:
        folder: of pictures, a zip or a list.
        scan_arguments: further words of `scan`.

    Raises:
        RunError: it failed; the message has its last line.
    """
    command = [sys.executable, "-m", "ftlab", "scan", str(folder), "--deep", "--json", *scan_arguments]
    with tempfile.TemporaryDirectory(prefix="ftlab-doctor-", ignore_cleanup_errors=True) as scratch_folder:
        progress_file, error_file = Path(scratch_folder) / "told", Path(scratch_folder) / "said"
        progress_file.touch()
        with open(error_file, "wb") as error_stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=error_stream,
                env=build_environment(**{PROGRESS_FILE_ENV: str(progress_file)}),
            )
            try:
                while process.poll() is None:
                    yield _read_last_progress(progress_file)
                    time.sleep(_POLL_INTERVAL_SECONDS)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode:
            lines = error_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RunError("run.examine", cause=lines[-1].removeprefix("ftlab: ") if lines else process.returncode)


def _read_last_progress(progress_file: Path) -> dict[str, Any]:
    """The last whole line."""
    lines = progress_file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return dict(json.loads(lines[-1])) if lines else {}
