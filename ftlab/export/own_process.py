"""A converter in a process of its own: its crash, or what it changes in its process, does not reach the caller."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ftlab.core.errors import ExportError
from ftlab.runs.jobs.launch import build_environment

_TIMEOUT_SECONDS = 1800.0
"""Seconds until a converter is given up: the largest models take minutes."""
_MAX_CAUSE_CHARACTERS = 300


def run_module(format_name: str, title: str, module: str, arguments: Sequence[str | Path]) -> None:
    """Run a module of ftlab with this Python and wait for its end; errors are those of `run_program`.

    Args:
        format_name: for the error's text.
        title: of the model, for the error's text.
        module: full name.
        arguments: of its command line.
    """
    run_program(format_name, title, [sys.executable, "-m", module, *arguments])


def run_program(format_name: str, title: str, command: Sequence[str | Path], folder: Path | None = None) -> None:
    """Run a converter and wait for its end.

    Args:
        format_name: for the error's text.
        title: of the model, for the error's text.
        command: program and arguments.
        folder: working directory; None: that of this process.

    Raises:
        ExportError: it failed; with the last line of its output.
    """
    try:
        finished = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env=build_environment(PYTHONIOENCODING="utf-8"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise ExportError("export.converter", title=title, format=format_name, cause=cause) from cause
    if finished.returncode:
        cause_text = find_last_line(finished.stdout) or describe_status(finished.returncode)
        raise ExportError("export.converter", title=title, format=format_name, cause=cause_text)


def find_last_line(output: str) -> str:
    """Return the last line of what a process has printed, shortened; empty if that is nothing.

    Args:
        output: of the process.
    """
    lines = output.strip().splitlines()
    return lines[-1].strip()[:_MAX_CAUSE_CHARACTERS] if lines else ""


def describe_status(status: int) -> str:
    """Return what an exit status means: the name of a signal, or the number.

    Args:
        status: as `subprocess` gives it, negative for a signal.
    """
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"
