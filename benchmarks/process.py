"""Run Python programs in processes of their own: the result in their last line, and their duration."""

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


def run_python(
    arguments: Sequence[str], folder: Path = PROJECT_ROOT, /, **environment: str
) -> tuple[dict[str, Any], float]:
    """Run `python ARGUMENTS…` and wait for its end.

    Args:
        arguments: arguments of the interpreter.
        folder: where it runs; Python imports from there first, so another checkout's folder runs that checkout.
        environment: variables in addition to those of this process.

    Returns:
        The JSON of its last line, and the seconds of the whole process.

    Raises:
        RuntimeError: it failed; with the end of its standard error.
    """
    start = time.monotonic()
    completed = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    # Not `check=True`: its error does not show what the process wrote.
    if completed.returncode:
        raise RuntimeError(f"python {' '.join(arguments)}: status {completed.returncode}\n{completed.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result, seconds
