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
from ftlab.runs.jobs.launch import build_environment


def run_query(command_name: str, config: TrainConfig, should_continue: Callable[[], bool], timeout_seconds: float) -> dict[str, Any] | None:
    """What `python -m ftlab <verb> --config … --json` answers in its last line.

    Args:
        config: the configuration that it is asked about.
        should_continue: asked again and again; once it says no, the process is ended.
        timeout_seconds: after which it is given up.

    Returns:
        The answer, None if it was no longer wanted.

    Raises:
        RunError: it failed, or took too long; the message has its last line.
    """
    with tempfile.TemporaryDirectory(prefix="ftlab-ask-") as scratch_folder:
        config_file = Path(scratch_folder) / "config.json"
        config_file.write_text(json.dumps(config.to_json()), encoding="utf-8")
        command = [sys.executable, "-m", "ftlab", command_name, "--config", str(config_file), "--json"]
        try:
            stdout = capture_output(command, should_continue, timeout_seconds)
            return None if stdout is None else dict(json.loads(stdout.splitlines()[-1]))
        except (subprocess.SubprocessError, ValueError, TypeError, IndexError) as cause:
            error_lines = (getattr(cause, "stderr", "") or str(cause)).strip().splitlines()
            raise RunError("run.measure", cause=error_lines[-1] if error_lines else cause) from cause


def capture_output(command: list[str], should_continue: Callable[[], bool], timeout_seconds: float) -> str | None:
    """What a command prints; None if it was ended because it was no longer wanted.

    Raises:
        subprocess.SubprocessError: it failed, or took longer than that.
    """
    deadline = time.monotonic() + timeout_seconds
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=build_environment()
    ) as process:
        while True:
            try:
                stdout, stderr = process.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                if should_continue() and time.monotonic() < deadline:
                    continue
                process.kill()
                process.communicate()
                if time.monotonic() < deadline:
                    return None
                raise
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command, stdout, stderr)
            return stdout
