"""Ask another process of ftlab for something that needs torch and some seconds, and give it up when it is no longer
wanted. No torch here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.jobs.launch import environment


def ask(verb: str, settings: TrainConfig, wanted: Callable[[], bool], seconds: float) -> dict[str, Any] | None:
    """What `python -m ftlab <verb> --config … --json` answers in its last line.

    Args:
        settings: the configuration that it is asked about.
        wanted: asked again and again; once it says no, the process is ended.
        seconds: after which it is given up.

    Returns:
        The answer, None if it was no longer wanted.

    Raises:
        RunError: it failed, or took too long; the message has its last line.
    """
    with tempfile.TemporaryDirectory(prefix="ftlab-ask-") as scratch:
        file = Path(scratch) / "config.json"
        file.write_text(json.dumps(settings.to_json()), encoding="utf-8")
        words = [sys.executable, "-m", "ftlab", verb, "--config", str(file), "--json"]
        try:
            told = output(words, wanted, seconds)
            return None if told is None else dict(json.loads(told.splitlines()[-1]))
        except (subprocess.SubprocessError, ValueError, TypeError, IndexError) as cause:
            said = (getattr(cause, "stderr", "") or str(cause)).strip().splitlines()
            raise RunError("run.measure", cause=said[-1] if said else cause) from cause


def output(words: list[str], wanted: Callable[[], bool], seconds: float) -> str | None:
    """What a command prints; None if it was ended because it was no longer wanted.

    Raises:
        subprocess.SubprocessError: it failed, or took longer than that.
    """
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        while True:
            try:
                told, said = process.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                if wanted() and time.monotonic() < deadline:
                    continue
                process.kill()
                process.communicate()
                if time.monotonic() < deadline:
                    return None
                raise
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, words, told, said)
            return told
