"""Queries that another ftlab process answers, because they need torch and some seconds; cancellable. No torch."""

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

USER_ERROR_STATUS = 2
"""Exit status of a command that refuses what it was asked for, with one line that says why."""


def run_query(
    command_name: str, config: TrainConfig, should_continue: Callable[[], bool], timeout_seconds: float
) -> dict[str, Any] | None:
    """Run `python -m ftlab COMMAND_NAME --config … --json` and return the JSON object of its last line.

    Args:
        command_name: name of the command.
        config: configuration passed to the command.
        should_continue: polled repeatedly; once it returns False, the process is killed.
        timeout_seconds: seconds after which the query fails.

    Returns:
        The answer; None if it was cancelled.

    Raises:
        RunError: the command refused the configuration (`run.refused`), failed, or took too long; the message holds the
            last line of its error output.
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
            if getattr(cause, "returncode", None) == USER_ERROR_STATUS and error_lines:
                raise RunError("run.refused", cause=error_lines[-1].removeprefix("ftlab: ")) from cause
            raise RunError("run.measure", cause=error_lines[-1] if error_lines else cause) from cause


def capture_output(command: list[str], should_continue: Callable[[], bool], timeout_seconds: float) -> str | None:
    """Run a command and return its standard output.

    Args:
        command: program and arguments.
        should_continue: polled repeatedly; once it returns False, the process is killed.
        timeout_seconds: seconds after which the process is killed.

    Returns:
        The output; None if it was cancelled.

    Raises:
        subprocess.CalledProcessError: the command failed.
        subprocess.TimeoutExpired: the command took longer than the timeout.
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
                process.communicate()  # collects the exit status and closes the pipes
                if time.monotonic() < deadline:
                    return None
                raise
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command, stdout, stderr)
            return stdout
