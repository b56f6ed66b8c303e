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
from ftlab.runs.jobs.launch import environment

TELL = "FTLAB_DOCTOR"
"""Environment variable: a file to which `scan --deep` writes how far it is, a JSON object a line."""
_EVERY = 0.3


def examine(folder: Path, options: Sequence[str]) -> Iterator[dict[str, Any]]:
    """How far it is, again and again: `stage`, `done`, `total`; nothing yet while it starts.

    Args:
        folder: of pictures, a zip or a list.
        options: further words of `scan`.

    Raises:
        RunError: it failed; the message has its last line.
    """
    words = [sys.executable, "-m", "ftlab", "scan", str(folder), "--deep", "--json", *options]
    with tempfile.TemporaryDirectory(prefix="ftlab-doctor-", ignore_cleanup_errors=True) as scratch:
        told, said = Path(scratch) / "told", Path(scratch) / "said"
        told.touch()
        with open(said, "wb") as errors:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment(**{TELL: str(told)}),
            )
            try:
                while process.poll() is None:
                    yield _last(told)
                    time.sleep(_EVERY)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode:
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RunError("run.examine", cause=lines[-1].removeprefix("ftlab: ") if lines else process.returncode)


def _last(told: Path) -> dict[str, Any]:
    """The last whole line."""
    lines = told.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return dict(json.loads(lines[-1])) if lines else {}
