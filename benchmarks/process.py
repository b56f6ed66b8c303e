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

ROOT = Path(__file__).resolve().parent.parent


def last_line(words: Sequence[str], **environment: str) -> tuple[dict[str, Any], float]:
    """Run `python WORDS…` from the project's folder to its end.

    Args:
        environment: variables, beside those of this process.

    Returns:
        the JSON of its last line, and the seconds of the whole process.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"python {' '.join(words)}: status {done.returncode}\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told, seconds
