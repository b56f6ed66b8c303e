"""Programs in processes of their own: what their last line tells, how long they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def run_python(arguments: Sequence[str], **environment: str) -> tuple[dict[str, Any], float]:
    """Run `python WORDS…` from the project's folder to its end.

    Args:
        environment: variables, beside those of this process.

    Returns:
        the JSON of its last line, and the seconds of the whole process.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    start = time.monotonic()
    completed = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    if completed.returncode:
        raise RuntimeError(f"python {' '.join(arguments)}: status {completed.returncode}\n{completed.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result, seconds
